import { createHash } from "node:crypto";
import { encodeValue, type HeldDocument, type OutgoingItem } from "@bpfleet/wire";

/** Version of what agent and daemon say to each other, and the oldest that this one can speak. */
export const protocols = { oldest: 1, newest: 1 } as const;

export interface ProtocolRange {
  readonly oldest: number;
  readonly newest: number;
}

/** Of all bodies of one plan, of the facts, of the results. */
export const largestDocumentBytes = 256 << 20;

export function hashItem(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("base64url");
}

export function outgoing(section: string, key: string, value: unknown): OutgoingItem {
  const body = encodeValue(value);
  return { section, key, fingerprint: hashItem(body), body };
}

/** Keys that are told apart by a number where two would be the same. */
export function uniqueKeys(): (key: string) => string {
  const times = new Map<string, number>();
  return (key) => {
    const before = times.get(key) ?? 0;
    times.set(key, before + 1);
    return before === 0 ? key : `${key} ${before}`;
  };
}

/** What a section holds, in order. */
export function valuesOf(document: HeldDocument<unknown>, section: string): readonly unknown[] {
  return [...(document.get(section)?.values() ?? [])].map(({ value }) => value);
}
