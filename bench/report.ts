import type { MachineFacts } from "./machine.ts";
import type { BenchResult } from "./result.ts";

export interface BenchReport {
  readonly machine: MachineFacts;
  readonly seconds: number;
  readonly isQuick: boolean;
  readonly results: readonly BenchResult[];
  readonly unanswered: readonly { readonly name: string; readonly why: string }[];
  /** Questions that were answered in runs of their own. */
  readonly apart?: readonly ApartRun[];
}

export interface ApartRun {
  readonly questions: readonly string[];
  readonly machine: MachineFacts;
  readonly seconds: number;
  /** What others did in the minute before; `machine.load` has the run's own in it. */
  readonly loadBefore: number;
}

/** Whether `name` asks for a question: its own, the beginning of it, or that of one of its results. */
export function isAsked(question: string, name: string): boolean {
  return question.startsWith(name) || name.startsWith(`${question}.`);
}

/** The answers of `run` in the place of those that `before` has to the same questions. */
export function mergeReports(
  before: BenchReport,
  run: BenchReport,
  questions: readonly string[],
  loadBefore: number,
): BenchReport {
  const answered = new Set(run.results.map(({ name }) => name));
  const isOf = (name: string): boolean =>
    answered.has(name) || questions.some((each) => name === each || name.startsWith(`${each}.`));
  const apart = (before.apart ?? []).map((each) => ({
    ...each,
    questions: each.questions.filter((name) => !isOf(name)),
  }));
  return {
    ...before,
    results: [...before.results.filter(({ name }) => !isOf(name)), ...run.results],
    unanswered: [...before.unanswered.filter(({ name }) => !isOf(name)), ...run.unanswered],
    apart: [
      ...apart.filter((each) => each.questions.length > 0),
      { questions, machine: run.machine, seconds: run.seconds, loadBefore },
    ],
  };
}

/** A target that is a number alone is met by no more than that. */
function isMissed({ value, target }: BenchResult): boolean {
  const [, sign, limit] = /^(<=?)? ?(\d[\d.]*)/.exec(target ?? "") ?? [];
  return limit !== undefined && (sign === "<" ? value >= Number(limit) : value > Number(limit));
}

export function renderMarkdown(report: BenchReport): string {
  const { machine } = report;
  const lines = [
    "# Benchmarks",
    "",
    `Kernel ${machine.kernel}, ${machine.cpus} × ${machine.cpu}, ${machine.memoryGib} GiB, JIT ${machine.jit}, Node ${machine.node},`,
    `${machine.clang}; load at the end ${machine.load}; commit ${machine.commit}; ${machine.at}; ${report.seconds} s.`,
    "Ratios carry over to other machines, absolute figures do not. Targets are reported, they gate nothing.",
    "",
    "| what | ours | unit | peer | peer's | ratio | target |",
    "| --- | ---: | --- | --- | ---: | ---: | --- |",
    ...report.results.map(
      (result) =>
        `| ${result.name} | ${result.value} | ${result.unit} | ${result.peer} | ${result.peerValue} | ${result.ratio} | ${result.target ?? ""} |`,
    ),
  ];
  const missed = report.results.filter(isMissed).map(({ name }) => name);
  lines.push("", `Targets missed: ${missed.length === 0 ? "none" : missed.join(", ")}.`);
  for (const { questions, machine: own, seconds, loadBefore } of report.apart ?? [])
    lines.push(
      "",
      `In a run of their own: ${questions.join(", ")}; load before ${loadBefore}, at the end ${own.load}; commit ${own.commit}; ${own.at}; ${seconds} s.`,
    );
  for (const { name, why } of report.unanswered) lines.push("", `Not answered: ${name}: ${why}`);
  return lines.join("\n") + "\n";
}
