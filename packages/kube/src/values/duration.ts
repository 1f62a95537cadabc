const unitsMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a duration as Go writes it, `1h30m`, `1.5s`, `300ms`; `undefined` for anything else. */
export function parseDuration(text: string): number | undefined {
  const sign = text.startsWith("-") ? -1 : 1;
  const body = text.replace(/^[+-]/, "");
  if (body === "0") return 0;
  const part = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gy;
  let totalMs = 0;
  let end = 0;
  for (let match = part.exec(body); match !== null; match = part.exec(body)) {
    totalMs += Number(match[1]) * (unitsMs[match[2] ?? ""] ?? NaN);
    end = part.lastIndex;
  }
  return end === 0 || end !== body.length ? undefined : sign * totalMs;
}

/** As Go writes it: `1h30m0s`, `1.5s`, `300ms`, `0s`. */
export function renderDuration(ms: number): string {
  if (ms === 0) return "0s";
  const sign = ms < 0 ? "-" : "";
  const whole = Math.abs(ms);
  if (whole < 1e-3) return `${sign}${trim(whole * 1e6)}ns`;
  if (whole < 1) return `${sign}${trim(whole * 1e3)}µs`;
  if (whole < 1000) return `${sign}${trim(whole)}ms`;
  const hours = Math.floor(whole / 3_600_000);
  const minutes = Math.floor((whole % 3_600_000) / 60_000);
  const seconds = trim((whole % 60_000) / 1000);
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}s` : `${sign}${seconds}s`;
}

function trim(value: number): string {
  return String(Number(value.toFixed(6)));
}
