import { relative } from "node:path";
import { run } from "node:test";
import { inspect } from "node:util";

export interface TestResult {
  /** `file > suite > test`: unique in the repository. */
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly ms: number;
  /** Why it was skipped, or how it failed. */
  readonly text: string;
}

export interface FileResult {
  readonly file: string;
  readonly ms: number;
  readonly tests: readonly TestResult[];
  /** What the file printed; shown when a test of it failed. */
  readonly output: string;
}

/** Runs one test file in a process of its own; the process is ended when the time is over. */
export async function runFile(root: string, file: string, timeoutMs: number): Promise<FileResult> {
  const begin = performance.now();
  const deadline = AbortSignal.timeout(timeoutMs);
  const tests: TestResult[] = [];
  const titles: string[] = [];
  /** Tests that have begun and not ended. */
  const begun = new Set<string>();
  let output = "";
  const add = (name: string, outcome: TestResult["outcome"], ms: number, text: string): void => {
    tests.push({ name: [file, name].filter(Boolean).join(" > "), outcome, ms, text });
  };
  const path = `${root}/${file}`;
  for await (const event of run({ files: [path], cwd: root, signal: deadline })) {
    if (event.type === "test:stdout" || event.type === "test:stderr") output += event.data.message;
    if (event.type === "test:diagnostic" && event.data.message.startsWith("Error:"))
      output += `${event.data.message}\n`;
    if (event.type === "test:dequeue") begun.add(event.data.name);
    if (event.type === "test:complete") begun.delete(event.data.name);
    if (event.type === "test:start") titles.splice(event.data.nesting, titles.length, event.data.name);
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { nesting, skip, todo, details } = event.data;
    // An event that names the file itself tells of its process: it failed, or it had no test.
    const isFile = event.data.name === path;
    const name = isFile ? "" : [...titles.slice(0, nesting), event.data.name].join(" > ");
    if (event.type === "test:fail") {
      if (details.type === "suite" && isOnlyOfSubtests(details.error)) continue;
      add(
        name,
        "failed",
        details.duration_ms,
        isFile ? "the process failed, see its output" : renderCause(details.error),
      );
    } else if (isFile) {
      add("", "failed", details.duration_ms, "the file has no test");
    } else if (details.type === "test") {
      const reason =
        skip !== undefined && skip !== false ? skip : todo !== undefined && todo !== false ? todo : undefined;
      if (reason === undefined) add(name, "passed", details.duration_ms, "");
      else add(name, "skipped", details.duration_ms, typeof reason === "string" ? reason : "no reason given");
    }
  }
  if (deadline.aborted) {
    const names = [...begun].filter((name) => name !== path);
    const where = names.length === 0 ? "" : `; in ${names.join(", ")}`;
    add("", "failed", timeoutMs, `not done after ${timeoutMs / 1000} s${where}`);
  } else if (tests.length === 0) add("", "failed", 0, "the file has no test");
  return { file: relative(root, path), ms: performance.now() - begin, tests, output };
}

/** A suite whose own hooks did not fail only repeats what its tests have said. */
function isOnlyOfSubtests(error: Error): boolean {
  return "failureType" in error && error.failureType === "subtestsFailed";
}

function renderCause(error: Error): string {
  return inspect(error.cause ?? error, { breakLength: 120 });
}
