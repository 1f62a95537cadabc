import type { TestResult } from "./run-file.ts";

/** test/node/expected-refusals.json: what each kernel that tests are run on measurably refuses. */
export interface RefusalList {
  readonly kernels: readonly KernelRefusals[];
  /** What a machine other than CI's may lack, as regular expressions over the reason of a skip. */
  readonly absences: readonly string[];
  /** What no setup brings to a machine, CI's among them; in the same form. */
  readonly incapacities: readonly string[];
}

export interface KernelRefusals {
  /** Regular expression over `uname -r`. */
  readonly release: string;
  readonly refusals: readonly Refusal[];
}

export interface Refusal {
  /** `file > suite > test`, as the runner prints it. */
  readonly test: string;
  /** The reason that the test gives when it skips, word for word. */
  readonly reason: string;
}

export interface Judgement {
  /** Each of these fails the run. */
  readonly problems: readonly string[];
  /** Skips that are told and allowed. */
  readonly allowed: readonly string[];
}

/**
 * Compares the skips of a run with what this kernel is known to refuse. Unless `isStrict`, skips for an
 * absence, and any where no entry matches the release, are told but allowed; those for an incapacity always.
 */
export function judgeSkips(
  results: readonly TestResult[],
  list: RefusalList,
  release: string,
  isStrict: boolean,
): Judgement {
  const known = list.kernels.filter((each) => new RegExp(each.release).test(release));
  const refusals = new Map(known.flatMap((each) => each.refusals).map((each) => [each.test, each.reason]));
  const isMeasured = known.length > 0;
  const problems: string[] = [];
  const allowed: string[] = [];
  for (const { name, outcome, text } of results) {
    const expected = refusals.get(name);
    if (outcome === "skipped" && expected === undefined) {
      const isFor = (reasons: readonly string[]): boolean => reasons.some((reason) => new RegExp(reason).test(text));
      const isAllowed = isFor(list.incapacities) || (!isStrict && (!isMeasured || isFor(list.absences)));
      (isAllowed ? allowed : problems).push(`${name}: skipped (${text}), which is not listed for kernel ${release}`);
    } else if (outcome === "skipped" && expected !== text) {
      problems.push(`${name}: skipped (${text}), but listed with another reason (${expected})`);
    } else if (outcome === "passed" && expected !== undefined) {
      problems.push(`${name}: ran, but is listed as refused (${expected}); remove it from the list`);
    }
  }
  return { problems, allowed };
}

/** Refusals for tests of the given files that no result has: renamed or deleted tests. */
export function findStaleRefusals(
  results: readonly TestResult[],
  list: RefusalList,
  files: readonly string[],
): string[] {
  const names = new Set(results.map((each) => each.name));
  return list.kernels
    .flatMap((each) => each.refusals)
    .filter(({ test }) => files.some((file) => test.startsWith(`${file} > `)) && !names.has(test))
    .map(({ test }) => `${test}: listed as refused, but there is no such test`);
}
