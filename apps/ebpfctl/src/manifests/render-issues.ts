import type { Issue } from "@bpfleet/base";

/** `file:line:column: error: message`, one line an issue, in the order of files and lines. */
export function renderIssues(issues: readonly Issue[]): string {
  const files = [...new Set(issues.map((issue) => issue.position?.file ?? ""))];
  const order = (issue: Issue) => files.indexOf(issue.position?.file ?? "");
  return issues
    .toSorted(
      (a, b) =>
        order(a) - order(b) ||
        (a.position?.line ?? 0) - (b.position?.line ?? 0) ||
        (a.position?.column ?? 0) - (b.position?.column ?? 0),
    )
    .map((issue) => `${place(issue)}${issue.severity}: ${issue.message}\n`)
    .join("");
}

function place({ position }: Issue): string {
  return position === undefined ? "" : `${position.file}:${position.line}:${position.column}: `;
}

/** `3 mistakes in 2 files`. */
export function countMistakes(issues: readonly Issue[]): string {
  const errors = issues.filter((issue) => issue.severity === "error");
  const files = new Set(errors.map((issue) => issue.position?.file));
  return `${count(errors.length, "mistake")} in ${count(files.size, "file")}`;
}

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
