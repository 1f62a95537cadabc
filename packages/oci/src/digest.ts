import { createHash, timingSafeEqual } from "node:crypto";
import { ImageError } from "@bpfleet/base";

/** `sha256:` and 64 lower-case hexadecimal digits. */
export type Digest = string & { readonly __brand: "Digest" };

const form = /^sha256:[0-9a-f]{64}$/;

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}` as Digest;
}

export function isDigest(text: unknown): text is Digest {
  return typeof text === "string" && form.test(text);
}

/** The 64 digits, without the name of the algorithm. */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}

/** Throws unless the bytes are exactly those that the digest names; `what` names them in the message. */
export function checkDigest(bytes: Uint8Array, expected: Digest, what: string): void {
  const found = digestOf(bytes);
  if (timingSafeEqual(Buffer.from(found), Buffer.from(expected))) return;
  throw new ImageError(`check ${what}: its digest is ${found}, not ${expected}; nothing of it is used`, {
    code: "digest-mismatch",
    retry: "backoff",
  });
}
