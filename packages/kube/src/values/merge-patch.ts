/** What leads from one JSON value to the other as a merge patch (RFC 7396); `undefined`: nothing is to be done. */
export function mergePatchBetween(before: unknown, after: unknown): unknown {
  if (!isObject(before) || !isObject(after)) return sameJson(before, after) ? undefined : after;
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
  if (!isObject(patch)) return patch;
  const result = new Map<string, unknown>(isObject(target) ? Object.entries(target) : []);
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
  if (!isObject(a) || !isObject(b)) return false;
  const keys = (value: Readonly<Record<string, unknown>>): string[] =>
    Object.keys(value).filter((key) => value[key] !== undefined);
  const [left, right] = [keys(a), keys(b)];
  return left.length === right.length && left.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
