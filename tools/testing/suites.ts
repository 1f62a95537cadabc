import { globSync } from "node:fs";

export type SuiteName = "unit" | "kernel" | "cluster" | "e2e";

/** What the suffix of a test file says about its needs. */
export interface Suite {
  readonly name: SuiteName;
  /** Files of this suite at the same time; files that change the kernel run one by one. */
  readonly concurrency: number;
  readonly fileTimeoutMs: number;
  readonly needsRoot: boolean;
  /** Whether it runs when no suite is named. */
  readonly runsAlways: boolean;
}

export const suites: readonly Suite[] = [
  { name: "unit", concurrency: 2, fileTimeoutMs: 120_000, needsRoot: false, runsAlways: true },
  { name: "kernel", concurrency: 1, fileTimeoutMs: 600_000, needsRoot: true, runsAlways: true },
  { name: "cluster", concurrency: 1, fileTimeoutMs: 2_400_000, needsRoot: false, runsAlways: true },
  { name: "e2e", concurrency: 1, fileTimeoutMs: 2_400_000, needsRoot: true, runsAlways: false },
];

export function suiteOf(file: string): SuiteName | undefined {
  if (!file.endsWith(".test.ts")) return undefined;
  return suites.find(({ name }) => file.endsWith(`.${name}.test.ts`))?.name ?? "unit";
}

/** Paths from `root`, sorted; `parts` keeps the files whose path contains one of them. */
export function findTestFiles(root: string, suite: SuiteName, parts: readonly string[]): string[] {
  return globSync("{packages,apps,tools,test,bench,demo}/**/*.test.ts", {
    cwd: root,
    exclude: (path) => /(^|\/)(node_modules|build|testdata)$/.test(path),
  })
    .filter((file) => suiteOf(file) === suite)
    .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
    .toSorted();
}
