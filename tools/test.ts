/**
 * Runs the tests: `node tools/test.ts [unit|kernel|cluster|e2e]... [PART-OF-A-PATH]... [--types=skip] [--leaks=warn]`.
 *
 * Types first, so that nothing stale passes; then the suites in order. What is to be built for the later ones is built
 * meanwhile. Files named `x.long.SUITE.test.ts` run after all others, and not at all where it is late by then, unless their
 * suite or a part of their path is named. A suite fails as a whole when something stays behind on the machine, or when a
 * test is skipped that test/node/expected-refusals.json does not list. For work in a tree or on a machine that others
 * change meanwhile: `--types=skip` starts the tests at once, `--leaks=warn` lets what stays behind pass.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { delimiter, join } from "node:path";
import { findAdded, findRemaining, killLeftProcesses, markerVariable, takeCensus } from "./testing/census.ts";
import { renderLeft, runLongFiles } from "./testing/long-files.ts";
import { findStaleRefusals, judgeSkips } from "./testing/refusals.ts";
import type { RefusalList } from "./testing/refusals.ts";
import { whyNoBuild } from "./go-programs.ts";
import {
  budgetMinutes,
  countResults,
  listFailures,
  renderClosingLine,
  renderFile,
  renderTable,
  summarize,
} from "./testing/report.ts";
import type { SuiteReport } from "./testing/report.ts";
import { runFile } from "./testing/run-file.ts";
import type { FileResult } from "./testing/run-file.ts";
import { findTestFiles, isLong, suites } from "./testing/suites.ts";
import type { Suite } from "./testing/suites.ts";

const root = join(import.meta.dirname, "..");

const kernelFreesWithinMs = 10_000;
const knownFlags = ["--types=skip", "--leaks=warn"];

interface Options {
  readonly suites: readonly Suite[];
  readonly parts: readonly string[];
  /** Nobody asks for a suite or a file: what takes minutes is last, where there is time. */
  readonly isAll: boolean;
  readonly checksTypes: boolean;
  readonly leaksFail: boolean;
  readonly isStrict: boolean;
  readonly refusals: RefusalList;
}

function readOptions(args: readonly string[], environment: NodeJS.ProcessEnv): Options {
  const words = args.filter((arg) => !arg.startsWith("--"));
  const chosen = suites.filter((suite) => words.includes(suite.name));
  const unknown = args.find((arg) => arg.startsWith("--") && !knownFlags.includes(arg));
  if (unknown !== undefined)
    throw new RangeError(`run tests: unknown option ${unknown}; there are ${knownFlags.join(" and ")}`);
  const parts = words.filter((word) => !suites.some((suite) => suite.name === word));
  return {
    suites: chosen.length > 0 ? chosen : suites,
    parts,
    isAll: chosen.length + parts.length === 0,
    checksTypes: !args.includes("--types=skip"),
    leaksFail: !args.includes("--leaks=warn"),
    isStrict: environment["CI"] === "true",
    refusals: JSON.parse(readFileSync(join(root, "test/node/expected-refusals.json"), "utf8")) as RefusalList,
  };
}

/**
 * Builds what the files of the later suites start, one after the other and at the lowest priority, while the earlier ones
 * run; for each suite, when that is done. Where it fails, the first test that needs it says why.
 */
function startBuilds(chosen: readonly Suite[]): ReadonlyMap<Suite, Promise<void>> {
  const builds = new Map<Suite, Promise<void>>();
  let before = Promise.resolve();
  if (whyNoBuild() !== undefined) return builds;
  for (const suite of chosen) {
    const { builder } = suite;
    if (builder === undefined) continue;
    before = before.then(() => build(builder));
    builds.set(suite, before);
  }
  return builds;
}

async function build(builder: readonly string[]): Promise<void> {
  const command = ["-n", "19", process.execPath, ...builder];
  await once(spawn("nice", command, { cwd: root, stdio: ["ignore", "ignore", "inherit"] }), "close");
}

function checkTypes(): boolean {
  return spawnSync("tsc", ["-b"], { cwd: root, stdio: "inherit" }).status === 0;
}

async function runSuite(suite: Suite, files: readonly string[], options: Options): Promise<SuiteReport> {
  if (suite.needsRoot && process.getuid?.() !== 0) {
    const problem = `${suite.name} tests need root; run: sudo make test-${suite.name}`;
    return { suite: suite.name, ms: 0, files: [], problems: [problem] };
  }
  const begin = performance.now();
  const results: FileResult[] = [];
  const suspects = new Map<string, string>();
  const marker = `${process.pid}-${suite.name}`;
  process.env[markerVariable] = marker;
  const waiting = [...files];
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const before = suite.census === "file" ? takeCensus(marker) : undefined;
      const result = await runFile(root, file, suite.fileTimeoutMs);
      results.push(result);
      console.log(renderFile(result));
      if (before !== undefined) for (const key of findAdded(before, takeCensus(marker))) suspects.set(key, file);
    }
  };
  const before = suite.census === "suite" ? takeCensus(marker) : undefined;
  await Promise.all(Array.from({ length: suite.concurrency }, work));
  if (before !== undefined)
    for (const key of findAdded(before, takeCensus(marker))) suspects.set(key, `${suite.name} tests`);
  const remaining = await findRemaining([...suspects.keys()], marker, kernelFreesWithinMs);
  killLeftProcesses(marker);
  const leaks = Array.from(remaining, ([key, name]) => `${suspects.get(key)}: left behind ${name}`);
  if (!options.leaksFail) for (const leak of leaks) console.log(`! ${leak}`);
  const problems = [...(options.leaksFail ? leaks : []), ...judge(results, files, options)];
  return { suite: suite.name, ms: performance.now() - begin, files: results, problems };
}

function judge(results: readonly FileResult[], files: readonly string[], options: Options): string[] {
  const tests = results.flatMap((result) => result.tests);
  const { problems, allowed } = judgeSkips(tests, options.refusals, release(), options.isStrict);
  for (const skip of allowed) console.log(`- ${skip}`);
  return [...problems, ...findStaleRefusals(tests, options.refusals, files)];
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2), process.env);
  process.chdir(root);
  process.env["PATH"] = [join(root, "node_modules/.bin"), process.env["PATH"], "/usr/sbin", "/sbin"].join(delimiter);
  if (options.checksTypes && !checkTypes()) {
    console.log(`types do not check\n${renderClosingLine({ passed: 0, failed: 1, skipped: 0 })}`);
    process.exitCode = 1;
    return;
  }
  const found = options.suites
    .map((suite) => [suite, findTestFiles(root, suite.name, options.parts)] as const)
    .filter(([, files]) => files.length > 0);
  const isLast = (file: string): boolean => options.isAll && isLong(file);
  const builds = startBuilds(found.map(([suite]) => suite));
  const begin = performance.now();
  const shorter: SuiteReport[] = [];
  for (const [suite, files] of found) {
    await builds.get(suite);
    const now = files.filter((file) => !isLast(file));
    if (now.length > 0) shorter.push(await runSuite(suite, now, options));
  }
  const { reports, left } = await runLongFiles({
    long: new Map(found.map(([suite, files]) => [suite, files.filter(isLast)])),
    reports: shorter,
    minutes: () => (performance.now() - begin) / 60_000,
    run: (suite, files) => runSuite(suite, files, options),
  });
  const counts = countResults(reports);
  mkdirSync("build", { recursive: true });
  const machine = { kernel: release(), cpus: cpus().length, node: process.version };
  writeFileSync(
    "build/test-times.json",
    `${JSON.stringify({ ...machine, ...(summarize(reports) as object) }, null, 2)}\n`,
  );
  console.log(`\n${renderTable(reports)}`);
  for (const failure of reports.flatMap(listFailures)) console.log(`✗ ${failure}`);
  const minutes = reports.reduce((sum, report) => sum + report.ms, 0) / 60_000;
  if (minutes > budgetMinutes) console.log(`✗ the tests took longer than their budget of ${budgetMinutes} minutes`);
  for (const line of renderLeft(left)) console.log(line);
  if (counts.passed === 0) console.log("✗ no test ran and passed");
  console.log(renderClosingLine(counts));
  if (counts.failed > 0 || counts.passed === 0) process.exitCode = 1;
}

await main();
