import type { SuiteReport } from "./report.ts";
import { suiteOf, type Suite } from "./suites.ts";

/** Of all tests together, builds that they wait for among it: later, files that take minutes are left out. */
const latestBeginMinutes = 42;

export interface LongRun {
  readonly long: ReadonlyMap<Suite, readonly string[]>;
  /** Of everything that ran before them. */
  readonly reports: readonly SuiteReport[];
  /** Since the first test began. */
  readonly minutes: () => number;
  readonly run: (suite: Suite, files: readonly string[]) => Promise<SuiteReport>;
}

/** Runs files that take minutes while there is time for them, each as part of its suite; returns those that are left. */
export async function runLongFiles({
  long,
  reports,
  minutes,
  run,
}: LongRun): Promise<{ readonly reports: readonly SuiteReport[]; readonly left: readonly string[] }> {
  const bySuite = new Map(reports.map((report) => [report.suite, report]));
  const waiting = [...long].flatMap(([suite, files]) => files.map((file) => ({ suite, file })));
  const left: string[] = [];
  for (const { suite, file } of waiting) {
    if (left.length > 0 || minutes() >= latestBeginMinutes) {
      left.push(file);
      continue;
    }
    bySuite.set(suite.name, join(bySuite.get(suite.name), await run(suite, [file])));
  }
  return { reports: [...bySuite.values()], left };
}

export function renderLeft(files: readonly string[]): readonly string[] {
  return files.map(
    (file) =>
      `- ${file} was left out, since it would begin more than ${latestBeginMinutes} minutes after the first: make test-${suiteOf(file)} runs it`,
  );
}

function join(before: SuiteReport | undefined, report: SuiteReport): SuiteReport {
  if (before === undefined) return report;
  return {
    suite: report.suite,
    ms: before.ms + report.ms,
    files: [...before.files, ...report.files],
    problems: [...before.problems, ...report.problems],
  };
}
