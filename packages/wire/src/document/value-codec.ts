import { decodeUtf8, encodeUtf8 } from "@bpfleet/base";
import { MalformedDocument } from "./document-reader.ts";

/** No key of anything that people name has a zero character. */
const bytesMark = "\0bytes";
const wholeMark = "\0int";

/**
 * JSON that also holds 64-bit numbers and bytes: the text, and behind a zero byte all bytes one after the other.
 * Fields that are not known to the reader are there all the same: he leaves them aside.
 */
export function encodeValue(value: unknown): Uint8Array {
  const blobs: Uint8Array[] = [];
  let blobBytes = 0;
  const text = JSON.stringify(value, function (this: unknown, name: string, field: unknown) {
    if (typeof field === "bigint") return { [wholeMark]: field.toString() };
    // Some arrays of bytes would already be their own JSON here; the holder still has them.
    const original = typeof field === "object" ? (this as Record<string, unknown>)[name] : undefined;
    if (!(original instanceof Uint8Array)) return field;
    blobs.push(original);
    blobBytes += original.length;
    return { [bytesMark]: original.length };
  });
  const json = encodeUtf8(text ?? "null");
  if (blobs.length === 0) return json;
  const whole = new Uint8Array(json.length + 1 + blobBytes);
  whole.set(json);
  let at = json.length + 1;
  for (const blob of blobs) {
    whole.set(blob, at);
    at += blob.length;
  }
  return whole;
}

/** The inverse of encodeValue; bytes are copies. */
export function decodeValue(bytes: Uint8Array): unknown {
  const zero = bytes.indexOf(0);
  const blobs: { readonly holder: Record<string, unknown>; readonly name: string; readonly length: number }[] = [];
  const root: Record<string, unknown> = { value: parse(zero === -1 ? bytes : bytes.subarray(0, zero)) };
  restore(root, "value", blobs);
  let at = zero === -1 ? bytes.length : zero + 1;
  for (const { holder, name, length } of blobs) {
    if (at + length > bytes.length) throw new MalformedDocument("read a value: its bytes are cut short");
    holder[name] = bytes.slice(at, at + length);
    at += length;
  }
  if (at !== bytes.length) throw new MalformedDocument("read a value: there are more bytes than it has");
  return root["value"];
}

function parse(json: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(json));
  } catch {
    throw new MalformedDocument("read a value: it is no JSON");
  }
}

/** In the order in which the fields were written. */
function restore(
  holder: Record<string, unknown>,
  name: string,
  blobs: { holder: Record<string, unknown>; name: string; length: number }[],
): void {
  const value = holder[name];
  if (typeof value !== "object" || value === null) return;
  if (bytesMark in value) {
    const length = value[bytesMark];
    if (!Number.isSafeInteger(length) || Number(length) < 0)
      throw new MalformedDocument("read a value: bytes without a length");
    blobs.push({ holder, name, length: Number(length) });
  } else if (wholeMark in value) {
    const text = value[wholeMark];
    if (typeof text !== "string" || !/^-?\d{1,40}$/.test(text))
      throw new MalformedDocument("read a value: a number without digits");
    holder[name] = BigInt(text);
  } else for (const field of Object.keys(value)) restore(value as Record<string, unknown>, field, blobs);
}
