import { resolvePlain } from "./scalars.ts";

/** kubectl breaks a line at the first blank past this column. */
const longLine = 80;

/**
 * A text as kubectl writes it: the first line, which begins at column `at`, and those below it without indentation;
 * they begin at `column`.
 */
export function renderText(text: string, at: number, column: number): string[] {
  if (text.includes("\n") && isPrintable(text) && !/ (?:\n|$)/.test(text)) return renderLines(text);
  return fold(text, styleOf(text), at, column);
}

/** On one line. */
export function renderKey(text: string): string {
  return fold(text, styleOf(text), -Infinity, 0).join("");
}

interface Style {
  readonly quote: "" | "'" | '"';
  readonly write: (letter: string) => string;
}

const plain: Style = { quote: "", write: (letter) => letter };
const single: Style = { quote: "'", write: (letter) => (letter === "'" ? "''" : letter) };
const double: Style = { quote: '"', write: writeEscaped };

function styleOf(text: string): Style {
  if (isMistakable(text) || !isPrintable(text) || text.includes("\n")) return double;
  return isPlain(text) ? plain : single;
}

/** A line is broken at a single blank; between double quotes also before further ones, with a mark that they count. */
function fold(text: string, { quote, write }: Style, at: number, column: number): string[] {
  if (quote === "" && (at + text.length <= longLine || !text.includes(" "))) return [text];
  const letters = [...text];
  const lines: string[] = [];
  let line: string = quote;
  let end = at + quote.length;
  for (const [index, letter] of letters.entries()) {
    const isEdge = quote !== "" && (index === 0 || index === letters.length - 1);
    const canBreak = letter === " " && letters[index - 1] !== " " && !isEdge;
    const isBeforeBlank = letters[index + 1] === " ";
    if (canBreak && end > longLine && (quote === '"' || !isBeforeBlank)) {
      lines.push(line);
      line = isBeforeBlank ? "\\" : "";
      end = column + line.length;
      continue;
    }
    const written = write(letter);
    line += written;
    end += [...written].length;
  }
  return [...lines, `${line}${quote}`];
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

function writeEscaped(letter: string): string {
  return escapes[letter] ?? (isPrintable(letter) ? letter : escapeCode(letter.codePointAt(0) ?? 0));
}

function escapeCode(code: number): string {
  const digits = code.toString(16).toUpperCase();
  if (code <= 0xff) return `\\x${digits.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}
