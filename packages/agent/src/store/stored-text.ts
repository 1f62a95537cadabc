import { canonicalJson, fingerprint } from "@bpfleet/base";
import type { ObjectSource } from "./cut-manifest.ts";

/** What an API server would keep in `metadata`, and where the text was applied from. */
export interface StoredHeader {
  readonly uid: string;
  readonly creationTimestamp: string;
  /** Counts the changes of `spec`. */
  readonly generation: number;
  /** Differs after every change. */
  readonly resourceVersion: string;
  /** Fingerprint of `spec`. */
  readonly spec: string;
  /** What was applied. */
  readonly source: ObjectSource;
}

export interface StoredText {
  /** The user's text, as it was applied or as somebody edited it since. */
  readonly text: string;
  /** Line of the stored file at which `text` begins (1-based). */
  readonly line: number;
  readonly header: StoredHeader | undefined;
  /** The header speaks of exactly this text: nobody edited the stored file. */
  readonly isUntouched: boolean;
}

const mark = "# bpfleet ";

/**
 * One file holds one object: a comment line with what bpfleet knows of it, then the user's own text with his
 * comments. One file, so that one rename replaces both; the user's text, so that every position in it is known.
 */
export function renderStored(text: string, header: StoredHeader): string {
  const body = text.endsWith("\n") ? text : `${text}\n`;
  return `${mark}${JSON.stringify({ ...header, text: fingerprint(body) })}\n${body}`;
}

export function parseStored(content: string): StoredText {
  if (!content.startsWith(mark)) return { text: content, line: 1, header: undefined, isUntouched: false };
  const end = content.indexOf("\n");
  const line = end === -1 ? content : content.slice(0, end);
  const text = end === -1 ? "" : content.slice(end + 1);
  const fields = parseHeader(line.slice(mark.length));
  if (fields === undefined) return { text, line: 2, header: undefined, isUntouched: false };
  return { text, line: 2, header: fields.header, isUntouched: fields.text === fingerprint(text) };
}

export function specFingerprint(value: unknown): string {
  const spec =
    typeof value === "object" && value !== null ? Object.entries(value).filter(([name]) => !notSpec.has(name)) : [];
  return fingerprint(canonicalJson(Object.fromEntries(spec)));
}

const notSpec = new Set(["apiVersion", "kind", "metadata", "status"]);

function parseHeader(json: string): { header: StoredHeader; text: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { uid, creationTimestamp, generation, resourceVersion, spec, source, text } = value as Record<string, unknown>;
  if (typeof source !== "object" || source === null) return undefined;
  const { file, line, isRendered } = source as Record<string, unknown>;
  const isWhole =
    typeof uid === "string" &&
    typeof creationTimestamp === "string" &&
    Number.isSafeInteger(generation) &&
    typeof resourceVersion === "string" &&
    typeof spec === "string" &&
    typeof text === "string" &&
    typeof file === "string" &&
    Number.isSafeInteger(line) &&
    typeof isRendered === "boolean";
  if (!isWhole) return undefined;
  return {
    header: {
      uid,
      creationTimestamp,
      generation: Number(generation),
      resourceVersion,
      spec,
      source: { file, line: Number(line), isRendered },
    },
    text,
  };
}
