// Answers the benchmark questions, each as a ratio against its peer in the same run.
// usage: node bench/run.ts [--quick] [--merge] [NAME …]
// NAME is that of a question, or its beginning, or that of one of its results.
// --merge puts the answers of some questions beside the others' in results/.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { machineFacts } from "./machine.ts";
import { Unanswerable, type BenchQuestion, type BenchResult } from "./result.ts";
import { isAsked, mergeReports, renderMarkdown, type BenchReport } from "./report.ts";

const { values: flags, positionals: prefixes } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false }, merge: { type: "boolean", default: false } },
});
if (process.getuid?.() !== 0) {
  process.stderr.write("bench: needs root for BPF and network namespaces; run: sudo make bench\n");
  process.exit(1);
}

const here = import.meta.dirname;
const questions: BenchQuestion[] = [];
for (const file of readdirSync(join(here, "questions")).toSorted()) {
  const module = (await import(join(here, "questions", file))) as { readonly question: BenchQuestion };
  if (prefixes.length === 0 || prefixes.some((name) => isAsked(module.question.name, name)))
    questions.push(module.question);
}
if (questions.length === 0) {
  process.stderr.write(`bench: there is no question ${prefixes.join(", ")}; bench/README.md lists them\n`);
  process.exit(2);
}

const scratchDir = mkdtempSync(join(os.tmpdir(), "bpfleet-bench-"));
process.on("exit", removeScratch);
// What questions made goes away with an exit.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
const results: BenchResult[] = [];
const unanswered: { name: string; why: string }[] = [];
const started = performance.now();
const { load: loadBefore } = machineFacts();
try {
  for (const question of questions) {
    process.stderr.write(`${question.name}: ${question.asks}\n`);
    try {
      const answers = await question.ask({
        isQuick: flags.quick,
        scratchDir,
        progress: (line) => process.stderr.write(`  ${line}\n`),
      });
      results.push(...answers);
    } catch (error) {
      if (!(error instanceof Unanswerable)) throw error;
      unanswered.push({ name: question.name, why: error.message });
      process.stderr.write(`  not answered: ${error.message}\n`);
    }
  }
} finally {
  removeScratch();
}

const report: BenchReport = {
  machine: machineFacts(),
  seconds: Math.round((performance.now() - started) / 1000),
  isQuick: flags.quick,
  results,
  unanswered,
};
const latest = join(here, "results", "latest.json");
const isWhole = prefixes.length === 0;
if (!flags.quick && (isWhole || flags.merge)) {
  const names = questions.map(({ name }) => name);
  const kept = isWhole ? report : mergeReports(readLatest(), report, names, loadBefore);
  mkdirSync(join(here, "results"), { recursive: true });
  writeFileSync(latest, JSON.stringify(kept, undefined, 2) + "\n");
  writeFileSync(join(here, "results", "latest.md"), renderMarkdown(kept));
}
process.stdout.write(renderMarkdown(report));

function readLatest(): BenchReport {
  return JSON.parse(readFileSync(latest, "utf8")) as BenchReport;
}

/** With every bpffs that is still mounted in it. */
function removeScratch(): void {
  const paths = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "");
  for (const path of paths.filter((each) => each.startsWith(`${scratchDir}/`))) spawnSync("umount", ["--lazy", path]);
  rmSync(scratchDir, { recursive: true, force: true });
}
