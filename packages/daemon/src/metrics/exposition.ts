import { setImmediate as yieldToLoop } from "node:timers/promises";

/** One metric with all its series, in Prometheus' terms. https://prometheus.io/docs/instrumenting/exposition_formats/ */
export interface MetricFamily {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly samples: Iterable<Sample>;
}

export interface Sample {
  readonly labels: Labels;
  readonly value: number | bigint;
  /** Of histograms: `_bucket`, `_sum`, `_count`. */
  readonly suffix?: "_bucket" | "_sum" | "_count" | undefined;
}

export type Labels = Readonly<Record<string, string>>;

export interface ExpositionOptions {
  /** Series of one family beyond this are left out, and their number is said. */
  readonly seriesCap: number;
  /** Lines between two pauses, in which the event loop does other work. */
  readonly chunkLines?: number | undefined;
}

export const expositionType = "text/plain; version=0.0.4; charset=utf-8";
const droppedFamily = "bpfleet_metrics_series_left_out";

/** The text that Prometheus reads, in pieces. Families without a series are left out. */
export async function* renderExposition(
  families: Iterable<MetricFamily>,
  options: ExpositionOptions,
): AsyncGenerator<string, void, undefined> {
  const chunkLines = options.chunkLines ?? 2000;
  const leftOut: Sample[] = [];
  for (const family of families) {
    let lines = "";
    let count = 0;
    let dropped = 0;
    for (const sample of family.samples) {
      if (count >= options.seriesCap) {
        dropped++;
        continue;
      }
      if (count === 0) lines = head(family);
      lines += renderSample(family.name, sample);
      if (++count % chunkLines !== 0) continue;
      yield lines;
      lines = "";
      await yieldToLoop();
    }
    if (lines !== "") yield lines;
    if (dropped > 0) leftOut.push({ labels: { metric: family.name }, value: dropped });
  }
  const family: MetricFamily = {
    name: droppedFamily,
    type: "gauge",
    help: "Series left out of this answer because their metric has too many.",
    samples: leftOut,
  };
  yield head(family) + leftOut.map((sample) => renderSample(family.name, sample)).join("");
}

function head({ name, type, help }: MetricFamily): string {
  return `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n# TYPE ${name} ${type}\n`;
}

function renderSample(name: string, { labels, value, suffix }: Sample): string {
  return `${name}${suffix ?? ""}${renderLabels(labels)} ${renderValue(value)}\n`;
}

function renderLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeValue(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeValue(value: string): string {
  return /[\\"\n]/.test(value) ? value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n") : value;
}

function renderValue(value: number | bigint): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return Number.isNaN(value) ? "NaN" : value.toString();
}
