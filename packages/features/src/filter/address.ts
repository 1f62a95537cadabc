/** 4 or 16 bytes in network order, as people write them; IPv6 by RFC 5952. */
export function renderAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2] ?? 0) << 8) | (bytes[at * 2 + 1] ?? 0));
  const [from, count] = longestZeros(groups);
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  return count < 2 ? text(groups) : `${text(groups.slice(0, from))}::${text(groups.slice(from + count))}`;
}

export function renderPrefix(bytes: Uint8Array, length: number): string {
  return `${renderAddress(bytes)}/${length}`;
}

function longestZeros(groups: readonly number[]): [from: number, count: number] {
  let best: [number, number] = [0, 0];
  let from = 0;
  for (const [at, group] of groups.entries()) {
    if (group !== 0) from = at + 1;
    else if (at + 1 - from > best[1]) best = [from, at + 1 - from];
  }
  return best;
}
