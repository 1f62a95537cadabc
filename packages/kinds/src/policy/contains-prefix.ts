import type { Prefix } from "@bpfleet/features";
import { maskBytes } from "../address/prefix.ts";

/** Every address of `part` is one of `whole`. */
export function containsPrefix(whole: Prefix, part: Prefix): boolean {
  if (whole.family !== part.family || part.length < whole.length) return false;
  const masked = maskBytes(part.bytes, whole.length);
  return whole.bytes.every((byte, at) => byte === masked[at]);
}
