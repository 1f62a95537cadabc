/** `2026-11-21T18:00:00.123456Z`: MicroTime of the API, always six digits. */
export function renderMicroTime(epochMs: number): string {
  const micros = Math.round((epochMs - Math.floor(epochMs)) * 1000);
  const [whole, extra] = micros === 1000 ? [Math.floor(epochMs) + 1, 0] : [Math.floor(epochMs), micros];
  return new Date(whole).toISOString().replace("Z", `${String(extra).padStart(3, "0")}Z`);
}

/** Milliseconds since the epoch of a Time or MicroTime (RFC 3339); `undefined` for anything else. */
export function parseTime(text: string): number | undefined {
  const match = /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  if (match === null) return undefined;
  const seconds = Date.parse(`${match[1]}T${match[2]}${(match[4] ?? "Z").toUpperCase()}`);
  if (Number.isNaN(seconds)) return undefined;
  return seconds + Math.round(Number(match[3] ?? 0) * 1_000_000) / 1000;
}
