import type { ObjectEvent, ObjectReport } from "@bpfleet/agent";
import { alignTabs, describeTabs, renderAge } from "@bpfleet/base";

/** One object as `kubectl describe` lays it out. */
export function renderDescription({ ref, object, events }: ObjectReport, nowMs: number): string {
  const { labels, annotations, name: _name, namespace: _namespace, ...metadata } = object.metadata;
  const { apiVersion, kind, metadata: _metadata, ...rest } = object;
  const lines = [
    `Name:\t${ref.name}`,
    `Namespace:\t${ref.namespace}`,
    ...pairs("Labels", labels),
    ...pairs("Annotations", annotations),
    `API Version:\t${apiVersion}`,
    `Kind:\t${kind}`,
    "Metadata:",
    ...fields(1, metadata),
    ...fields(0, apiVersion === "v1" && kind === "Secret" ? withoutValues(rest) : rest),
    ...describeEvents(events, nowMs),
  ];
  return `${alignTabs(lines, describeTabs)
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")}\n`;
}

/** Of a Secret: how long each value is. */
function withoutValues(content: object): object {
  const sizes = (values: unknown, sizeOf: (text: string) => number): unknown =>
    isRecord(values)
      ? Object.fromEntries(Object.entries(values).map(([name, value]) => [name, `${sizeOf(String(value))} bytes`]))
      : values;
  return Object.fromEntries(
    Object.entries(content).map(([name, value]) => {
      if (name === "data") return [name, sizes(value, (text) => Buffer.from(text, "base64").length)];
      return [name, name === "stringData" ? sizes(value, (text) => Buffer.byteLength(text)) : value];
    }),
  );
}

function pairs(label: string, values: Readonly<Record<string, string>> | undefined): readonly string[] {
  const entries = Object.entries(values ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return [`${label}:\t<none>`];
  return entries.map(
    ([name, value], at) =>
      `${at === 0 ? `${label}:` : ""}\t${name}${label === "Labels" ? "=" : ": "}${value.replaceAll("\n", " ")}`,
  );
}

function fields(level: number, content: object): readonly string[] {
  return Object.entries(content)
    .filter(([, value]) => value !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, value]) => field(level, labelOf(name), value));
}

function field(level: number, label: string, value: unknown): readonly string[] {
  const indent = "  ".repeat(level);
  if (Array.isArray(value)) {
    return [
      `${indent}${label}:`,
      ...value.flatMap((item) => (isRecord(item) ? fields(level + 1, item) : [`${indent}  ${String(item)}`])),
    ];
  }
  if (isRecord(value)) return [`${indent}${label}:`, ...fields(level + 1, value)];
  return [`${indent}${label}:\t${value === null ? "<nil>" : String(value)}`];
}

const acronyms = new Set(["API", "URL", "UID", "OSB", "GUID"]);

/** `packetsPerSecond` → `Packets Per Second`, as kubectl labels fields; names with other signs stay as they are. */
export function labelOf(name: string): string {
  if (!/^[\p{L}-]+$/u.test(name)) return name;
  return name
    .split(/(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?=-)|(?<=-)/)
    .map((part) =>
      acronyms.has(part.toUpperCase()) ? part.toUpperCase() : part.charAt(0).toUpperCase() + part.slice(1),
    )
    .join(" ");
}

function describeEvents(events: readonly ObjectEvent[], nowMs: number): readonly string[] {
  if (events.length === 0) return ["Events:\t<none>"];
  return [
    "Events:",
    "  Type\tReason\tAge\tFrom\tMessage",
    "  ----\t------\t----\t----\t-------",
    ...events.map(
      (event) =>
        `  ${event.type}\t${event.reason}\t${ageOf(event, nowMs)}\tbpfleet\t${event.message.replaceAll(/\s+/g, " ")}`,
    ),
  ];
}

function ageOf({ count, firstTimestamp, lastTimestamp }: ObjectEvent, nowMs: number): string {
  const last = renderAge(nowMs - Date.parse(lastTimestamp));
  return count > 1 ? `${last} (x${count} over ${renderAge(nowMs - Date.parse(firstTimestamp))})` : last;
}

function isRecord(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
