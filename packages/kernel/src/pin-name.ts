import { decodeUtf8, encodeUtf8 } from "@bpfleet/base";
import type { Identity } from "./port.ts";

/**
 * Names of pins. A bpffs refuses `.` and `/` in names and takes 255 bytes, so every byte outside
 * [A-Za-z0-9_-] becomes `%XX`.
 */

/** Bytes of an encoded key that a name may spend; the generation follows. */
export const encodedKeyLimit = 200;

export function encodePinName(key: string): string {
  if (key !== lastEncoded.key) lastEncoded = { key, name: encode(key) };
  return lastEncoded.name;
}

/** The pins of a hook are looked for one after the other. */
let lastEncoded = { key: "", name: "" };

const ofAscii = Array.from({ length: 128 }, (_, code) => `%${code.toString(16).toUpperCase().padStart(2, "0")}`);

function encode(key: string): string {
  if (!/[^A-Za-z0-9_-]/.test(key)) return key;
  return key.replace(/[^A-Za-z0-9_-]/gu, (character) => {
    const short = character.length === 1 ? ofAscii[character.charCodeAt(0)] : undefined;
    if (short !== undefined) return short;
    return Array.from(encodeUtf8(character), (byte) => `%${byte.toString(16).toUpperCase()}`).join("");
  });
}

/** `undefined` for names that encodePinName does not give. */
export function decodePinName(name: string): string | undefined {
  if (!name.includes("%") && encodePinName(name) === name) return name;
  const bytes: number[] = [];
  for (let at = 0; at < name.length; at++) {
    if (name[at] !== "%") {
      bytes.push(name.charCodeAt(at));
      continue;
    }
    bytes.push(Number.parseInt(name.slice(at + 1, at + 3), 16));
    at += 2;
  }
  if (bytes.some((byte) => !(byte >= 0 && byte <= 255))) return undefined;
  const key = decodeUtf8(Uint8Array.from(bytes));
  return encodePinName(key) === name ? key : undefined;
}

/** `<encoded key>@<generation>`. */
export function encodeIdentity({ key, generation }: Identity): string {
  return `${encodePinName(key)}@${encodePinName(generation)}`;
}

export function decodeIdentity(name: string): Identity | undefined {
  const [encodedKey = "", encodedGeneration = "", ...rest] = name.split("@");
  const key = decodePinName(encodedKey);
  const generation = decodePinName(encodedGeneration);
  if (key === undefined || key === "" || generation === undefined || generation === "" || rest.length > 0)
    return undefined;
  return { key, generation };
}
