import { resolvePlain } from "./scalars.ts";

/** A text as kubectl writes it: the first line, and the lines of a block below it without indentation. */
export function renderText(text: string): string[] {
  if (text.includes("\n") && isPrintable(text) && !/ (?:\n|$)/.test(text)) return renderLines(text);
  return [renderKey(text)];
}

/** On one line. */
export function renderKey(text: string): string {
  if (isMistakable(text) || !isPrintable(text) || text.includes("\n")) return quoteTwice(text);
  return isPlain(text) ? text : `'${text.replaceAll("'", "''")}'`;
}

/** A block; the mark says how many blanks lead and which line ends are part of the text. */
function renderLines(text: string): string[] {
  const leads = /^[ \n]/.test(text) ? "2" : "";
  const ends = !text.endsWith("\n") ? "-" : /^\n$|\n\n$/.test(text) ? "+" : "";
  const lines = text.split("\n");
  if (text.endsWith("\n")) lines.pop();
  return [`|${leads}${ends}`, ...lines];
}

/** Read without quotes it would be something else. kubectl also quotes times and numbers to the base of 60, for older readers. */
function isMistakable(text: string): boolean {
  const read = resolvePlain(text);
  return olderWords.test(text) || !read.ok || read.value !== text;
}

const olderWords = /^(?:<<|\d{4}-\d{1,2}-\d{1,2}(?:[Tt ].*)?|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?)$/;

/** No character that another reader could take for a line end, or drop. */
function isPrintable(text: string): boolean {
  return /^[\n\x20-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]*$/u.test(text);
}

function isPlain(text: string): boolean {
  if (text === "" || /^ | $|: |:$| #/.test(text)) return false;
  return !/^[#,[\]{}&*!|>'"%@`]|^[-?:](?: |$)|^---|^\.\.\./.test(text);
}

const escapes: Readonly<Record<string, string>> = {
  "\0": "\\0",
  "\x07": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\x1b": "\\e",
  '"': '\\"',
  "\\": "\\\\",
  "\x85": "\\N",
  "\u2028": "\\L",
  "\u2029": "\\P",
};

function quoteTwice(text: string): string {
  const letters = Array.from(
    text,
    (letter) => escapes[letter] ?? (isPrintable(letter) ? letter : escapeCode(letter.codePointAt(0) ?? 0)),
  );
  return `"${letters.join("")}"`;
}

function escapeCode(code: number): string {
  const digits = code.toString(16).toUpperCase();
  if (code <= 0xff) return `\\x${digits.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}
