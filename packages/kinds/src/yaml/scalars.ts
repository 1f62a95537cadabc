import { decodeUtf8 } from "@bpfleet/base";

export type Scalar = string | number | boolean | null;

export type ScalarResult =
  | { readonly ok: true; readonly value: Scalar }
  /** `because` continues "cannot be read: ". */
  | { readonly ok: false; readonly because: string };

const words: ReadonlyMap<string, boolean | null> = new Map([
  ...["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"].map((word) => [word, true] as const),
  ...["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"].map((word) => [word, false] as const),
  ...["", "~", "null", "Null", "NULL"].map((word) => [word, null] as const),
]);

const decimal = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
const integer = /^([-+]?)(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)$/;

/**
 * What a plain (unquoted) word means to kubectl, which is neither YAML 1.1 nor 1.2: the words of 1.1
 * are booleans, `0644` and `0o644` are octal, `1_000` is a thousand, and `1:30` and dates stay text.
 */
export function resolvePlain(text: string): ScalarResult {
  const word = words.get(text);
  if (word !== undefined) return { ok: true, value: word };
  const first = text.charAt(0);
  if (first === ".") return resolveDot(text);
  if (!/[-+0-9]/.test(first)) return { ok: true, value: text };
  if (/^[-+]\.(?:inf|Inf|INF)$/.test(text)) return notFinite(text);
  const digits = text.replaceAll("_", "");
  const whole = integer.exec(digits);
  if (whole !== null) return exactInteger(text, whole[1] === "-", whole[2] ?? "");
  if (!decimal.test(digits)) return { ok: true, value: text };
  const value = Number(digits);
  return Number.isFinite(value) ? { ok: true, value } : { ok: true, value: text };
}

const knownTags = {
  scalar: ["!!str", "!!int", "!!float", "!!bool", "!!null", "!!binary", "!!timestamp", "!!merge"],
  map: ["!!map"],
  seq: ["!!seq"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** The tag as people write it, if it is none that such a value may have. */
export function findUnknownTag(tag: string | undefined, of: keyof typeof knownTags): string | undefined {
  // Alone it says that nothing is to be guessed.
  if (tag === undefined || tag === "!") return undefined;
  const written = tag.replace("tag:yaml.org,2002:", "!!");
  return knownTags[of].some((known) => known === written) ? undefined : written;
}

/** What a word means that carries a tag, quoted or not; `undefined` when the tag leaves it text. */
export function resolveTagged(tag: string, text: string): ScalarResult {
  switch (tag.replace("tag:yaml.org,2002:", "!!")) {
    case "!!int":
      return expecting("an integer", text, Number.isInteger);
    case "!!float":
      return expecting("a number", text, (value) => typeof value === "number");
    case "!!bool":
      return expecting("a boolean", text, (value) => typeof value === "boolean");
    case "!!null":
      return expecting("null", text, (value) => value === null);
    case "!!binary":
      return resolveBinary(text);
    default:
      return { ok: true, value: text };
  }
}

function resolveDot(text: string): ScalarResult {
  if (/^\.(?:nan|NaN|NAN|inf|Inf|INF)$/.test(text)) return notFinite(text);
  return { ok: true, value: decimal.test(text) ? Number(text) : text };
}

function notFinite(text: string): ScalarResult {
  return { ok: false, because: `${text} is no number that JSON can carry; put it in quotes if it is text` };
}

function exactInteger(text: string, isNegative: boolean, digits: string): ScalarResult {
  const octal = /^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits;
  const value = Number(octal.toLowerCase());
  if (!Number.isSafeInteger(value)) {
    return { ok: false, because: `the number ${text} is too large to be kept exactly; put it in quotes` };
  }
  return { ok: true, value: isNegative && value !== 0 ? -value : value };
}

function expecting(what: string, text: string, holds: (value: Scalar) => boolean): ScalarResult {
  const resolved = resolvePlain(text);
  if (!resolved.ok || holds(resolved.value)) return resolved;
  return { ok: false, because: `"${text}" is tagged as ${what} and is none` };
}

function resolveBinary(text: string): ScalarResult {
  const packed = text.replaceAll(/\s/g, "").replace(/=+$/, "");
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const bytes: number[] = [];
  let bits = 0;
  let held = 0;
  for (const letter of packed) {
    const six = alphabet.indexOf(letter);
    if (six < 0) return { ok: false, because: `it is tagged as binary, and "${letter}" is no base64` };
    held = ((held << 6) | six) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
    }
  }
  return { ok: true, value: decodeUtf8(Uint8Array.from(bytes)) };
}
