import { globSync } from "node:fs";

export type SuiteName = "unit" | "kernel" | "cluster" | "e2e";

/** What the suffix of a test file says about its needs. */
export interface Suite {
  readonly name: SuiteName;
  /** Files of this suite at the same time; files that change the kernel run one by one. */
  readonly concurrency: number;
  readonly fileTimeoutMs: number;
  readonly needsRoot: boolean;
  /** When it is looked what stayed behind on the machine: after each file, which then is named, or at the end. */
  readonly census: "file" | "suite" | "none";
  /** What builds the programs of Go that its files start: minutes on a new machine, then nothing. */
  readonly builder?: readonly string[];
}

export const suites: readonly Suite[] = [
  { name: "unit", concurrency: 2, fileTimeoutMs: 300_000, needsRoot: false, census: "none" },
  { name: "kernel", concurrency: 1, fileTimeoutMs: 600_000, needsRoot: true, census: "file" },
  // Each file has an API server of its own, and waits for it most of the time.
  {
    name: "cluster",
    concurrency: 2,
    fileTimeoutMs: 600_000,
    needsRoot: false,
    census: "suite",
    builder: ["tools/build-control-plane.ts"],
  },
  {
    name: "e2e",
    concurrency: 1,
    fileTimeoutMs: 1_200_000,
    needsRoot: true,
    census: "file",
    builder: ["tools/build-whole-cluster.ts", "--helm"],
  },
];

export function suiteOf(file: string): SuiteName | undefined {
  if (!file.endsWith(".test.ts")) return undefined;
  return suites.find(({ name }) => file.endsWith(`.${name}.test.ts`))?.name ?? "unit";
}

/** `x.long.SUITE.test.ts`: takes minutes, and runs where its suite or the file is asked for. */
export function isLong(file: string): boolean {
  return /\.long\.\w+\.test\.ts$/.test(file);
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
