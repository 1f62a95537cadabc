import { isRecord } from "./read-yaml.ts";
import { renderKey, renderText } from "./render-text.ts";

/** YAML as `kubectl get -o yaml` prints it: keys sorted, lists not indented, text quoted only where it must be. */
export function renderYaml(value: unknown): string {
  return `${renderBlock(value).join("\n")}\n`;
}

/** The lines of a value that stands by itself. */
function renderBlock(value: unknown): string[] {
  if (Array.isArray(value)) return value.length === 0 ? ["[]"] : value.flatMap(renderItem);
  if (!isRecord(value)) return renderScalar(value);
  const keys = Object.keys(value).filter((key) => value[key] !== undefined);
  return keys.length === 0 ? ["{}"] : keys.toSorted(byName).flatMap((key) => renderField(renderKey(key), value[key]));
}

function renderField(key: string, value: unknown): string[] {
  const [first = "", ...rest] = renderBlock(value);
  if (Array.isArray(value) && value.length > 0) return [`${key}:`, first, ...rest];
  if (isRecord(value) && first !== "{}") return [`${key}:`, ...[first, ...rest].map(indent)];
  return [`${key}: ${first}`, ...rest.map(indent)];
}

function renderItem(value: unknown): string[] {
  const [first = "", ...rest] = renderBlock(value);
  return [`- ${first}`, ...rest.map(indent)];
}

function renderScalar(value: unknown): string[] {
  if (typeof value === "string") return renderText(value);
  return [String(value ?? null)];
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
