import { isRecord } from "@bpfleet/base";
/** What leads from one JSON value to the other as a merge patch (RFC 7396); `undefined`: nothing is to be done. */
export function mergePatchBetween(before: unknown, after: unknown): unknown {
  if (!isRecord(before) || !isRecord(after)) return sameJson(before, after) ? undefined : after;
  const patch = new Map<string, unknown>();
  for (const key of Object.keys(before))
    if (!Object.hasOwn(after, key) || after[key] === undefined) patch.set(key, null);
  for (const [key, value] of Object.entries(after)) {
    if (value === undefined) continue;
    const change = Object.hasOwn(before, key) ? mergePatchBetween(before[key], value) : value;
    if (change !== undefined) patch.set(key, change);
  }
  return patch.size === 0 ? undefined : Object.fromEntries(patch);
}

/** What a server makes of a merge patch (RFC 7396). */
export function applyMergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const result = new Map<string, unknown>(isRecord(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, applyMergePatch(result.get(key), value));
  }
  return Object.fromEntries(result);
}

/** Equal as JSON: the order of keys does not count, nor do fields that are `undefined`. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, index) => sameJson(item, b[index]));
  if (!isRecord(a) || !isRecord(b)) return false;
  const keys = (value: Readonly<Record<string, unknown>>): string[] =>
    Object.keys(value).filter((key) => value[key] !== undefined);
  const [left, right] = [keys(a), keys(b)];
  return left.length === right.length && left.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]));
}
