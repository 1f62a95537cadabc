import { isRecord } from "@bpfleet/base";
import { renderKey, renderText } from "./render-text.ts";

/** YAML as `kubectl get -o yaml` prints it: keys sorted, lists not indented, text quoted only where it must be. */
export function renderYaml(value: unknown): string {
  return `${renderBlock(value).join("\n")}\n`;
}

/** The lines of a value that stands by itself, in a column of the page; its first line begins at `at`. */
function renderBlock(value: unknown, column = 0, at = column): string[] {
  if (Array.isArray(value)) return value.length === 0 ? ["[]"] : value.flatMap((item) => renderItem(item, column));
  if (typeof value === "string") return renderText(value, at, column);
  if (!isRecord(value)) return [String(value ?? null)];
  const keys = Object.keys(value).filter((key) => value[key] !== undefined);
  if (keys.length === 0) return ["{}"];
  return keys.toSorted(byName).flatMap((key) => renderField(renderKey(key), value[key], column));
}

function renderField(key: string, value: unknown, column: number): string[] {
  if (Array.isArray(value) && value.length > 0) return [`${key}:`, ...renderBlock(value, column)];
  if (isRecord(value)) {
    const lines = renderBlock(value, column + 2);
    if (lines[0] !== "{}") return [`${key}:`, ...lines.map(indent)];
  }
  const [first = "", ...rest] = renderBlock(value, column + 2, column + [...key].length + 2);
  return [`${key}: ${first}`, ...rest.map(indent)];
}

function renderItem(value: unknown, column: number): string[] {
  const [first = "", ...rest] = renderBlock(value, column + 2);
  return [`- ${first}`, ...rest.map(indent)];
}

function indent(line: string): string {
  return line === "" ? "" : `  ${line}`;
}

/** kubectl's order: signs, then digits by the number they make, then letters. */
function byName(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  const at = left.findIndex((letter, index) => letter !== right[index]);
  const [from, to] = [left[at], right[at]];
  if (from === undefined || to === undefined) return left.length - right.length;
  if (isLetter(from) !== isLetter(to)) return isLetter(from) ? 1 : -1;
  return (
    (isLetter(from) ? 0 : compareNumbers(left, right, at)) || (from.codePointAt(0) ?? 0) - (to.codePointAt(0) ?? 0)
  );
}

/** Of the digits from `at` on. A 0 that ends a number makes it longer, so it counts as more than nothing. */
function compareNumbers(left: readonly string[], right: readonly string[], at: number): number {
  const before = /\d*$/.exec(left.slice(0, at).join(""))?.[0] ?? "";
  const lead = (left[at] === "0" || right[at] === "0") && /[1-9]/.test(before) ? "1" : "";
  const [from, to] = [left, right].map((letters) => /^\d*/.exec(letters.slice(at).join(""))?.[0] ?? "");
  return Number(`${lead}${from}`) - Number(`${lead}${to}`) || (from ?? "").length - (to ?? "").length;
}

function isLetter(letter: string): boolean {
  return /\p{Letter}/u.test(letter);
}
