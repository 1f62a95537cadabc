import { encodeUtf8 } from "@bpfleet/base";

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Base64 of the UTF-8 of a text. */
export function encodeBase64(text: string): string {
  const bytes = encodeUtf8(text);
  let encoded = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const [first = 0, second, third] = bytes.subarray(at, at + 3);
    const bits = (first << 16) | ((second ?? 0) << 8) | (third ?? 0);
    const digit = (shift: number): string => digits.charAt((bits >> shift) & 63);
    encoded += digit(18) + digit(12) + (second === undefined ? "=" : digit(6)) + (third === undefined ? "=" : digit(0));
  }
  return encoded;
}

export function isBase64(text: string): boolean {
  const plain = text.replaceAll(/\s/g, "");
  return plain.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(plain);
}
