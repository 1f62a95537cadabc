import type { SuiteName } from "./suites.ts";
import type { FileResult, TestResult } from "./run-file.ts";

export const budgetMinutes = 60;

const longestCause = 400;

export interface SuiteReport {
  readonly suite: SuiteName;
  readonly ms: number;
  readonly files: readonly FileResult[];
  /** Failures that no single test has: leaks, skips that are not listed, a suite that could not run. */
  readonly problems: readonly string[];
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export function countResults(reports: readonly SuiteReport[]): Counts {
  const tests = reports.flatMap((report) => report.files).flatMap((file) => file.tests);
  const count = (outcome: TestResult["outcome"]): number => tests.filter((test) => test.outcome === outcome).length;
  const problems = reports.reduce((sum, report) => sum + report.problems.length, 0);
  return { passed: count("passed"), failed: count("failed") + problems, skipped: count("skipped") };
}

/** What failed and the beginning of why, a line each; the rest stands further up. */
export function listFailures({ files, problems }: SuiteReport): string[] {
  const tests = files.flatMap((file) => file.tests).filter((test) => test.outcome === "failed");
  return [...tests.map(({ name, text }) => `${name}: ${shorten(text)}`), ...problems];
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > longestCause ? `${line.slice(0, longestCause)}…` : line;
}

/** The line that scripts look for; it stands alone, and last. */
export function renderClosingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** One line a file, and below it whatever did not pass, with the file's output. */
export function renderFile({ file, ms, tests, output }: FileResult): string {
  const failed = tests.filter((test) => test.outcome === "failed");
  const lines = [`${failed.length > 0 ? "✗" : "✓"} ${file}  ${tests.length} tests, ${renderSeconds(ms)}`];
  for (const { name, outcome, text } of tests) {
    if (outcome === "failed") lines.push(`    ✗ ${name}`, indent(text, 8));
    if (outcome === "skipped") lines.push(`    - ${name}: skipped (${text})`);
  }
  if (failed.length > 0 && output.trim() !== "") lines.push("    output:", indent(output.trimEnd(), 8));
  return lines.join("\n");
}

export function renderTable(reports: readonly SuiteReport[]): string {
  const head = ["suite", "files", "passed", "failed", "skipped", "minutes"];
  const rows = reports.map((report) => {
    const { passed, failed, skipped } = countResults([report]);
    return [report.suite, report.files.length, passed, failed, skipped, renderMinutes(report.ms)].map(String);
  });
  const total = reports.reduce((sum, report) => sum + report.ms, 0);
  const lines = [head, ...rows].map((row) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(9) : cell.padStart(9))).join(""),
  );
  return [...lines, `${renderMinutes(total)} of ${budgetMinutes} minutes used`].join("\n");
}

/** What build/test-times.json holds. */
export function summarize(reports: readonly SuiteReport[]): unknown {
  return {
    budgetMinutes,
    suites: reports.map((report) => ({
      suite: report.suite,
      minutes: Number(renderMinutes(report.ms)),
      ...countResults([report]),
      slowestFiles: report.files
        .toSorted((a, b) => b.ms - a.ms)
        .slice(0, 10)
        .map(({ file, ms }) => ({ file, seconds: Math.round(ms / 100) / 10 })),
    })),
  };
}

function renderMinutes(ms: number): string {
  return (ms / 60_000).toFixed(2);
}

function renderSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function indent(text: string, width: number): string {
  return text.replaceAll(/^/gm, " ".repeat(width));
}
