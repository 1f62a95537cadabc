import { fingerprint } from "@bpfleet/base";

/** Equal texts, equal UUID: version 8 of RFC 9562, which leaves the bits to whoever makes it. */
export function uuidOf(text: string): string {
  const digits = fingerprint(`1 ${text}`) + fingerprint(`2 ${text}`) + fingerprint(`3 ${text}`);
  const variant = "89ab".charAt(Number.parseInt(digits.charAt(30), 16) & 3);
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    `8${digits.slice(12, 15)}`,
    `${variant}${digits.slice(15, 18)}`,
    digits.slice(18, 30),
  ].join("-");
}
