/** Rates, sizes and durations as tc, Kubernetes and Go write them. */

const factors: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/** Schema patterns; what they let pass is read by the functions below. */
export const ratePattern = "^[0-9]+(\\.[0-9]+)?([kKmMgGtT][iI]?)?([bB][iI][tT]|[bB][pP][sS])?$";
export const sizePattern = "^[0-9]+(\\.[0-9]+)?([kKmMgG][iI]?)?[bB]?$";
export const durationPattern = "^([0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h))+$";

/** Bits each second of `1Gbit`, `512Kibit`, `100Mbps` or `1000000`; `undefined` for anything else, and for 0. */
export function parseRate(text: string): number | undefined {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?)([kmgt]i?)?(?:bit|bps)?$/i.exec(text) ?? [];
  return scale(digits, factors[unit.toLowerCase()]);
}

/** Bytes of `15kb`, `32k` or `1500`. As in tc, k, m and g are powers of 1024. */
export function parseSize(text: string): number | undefined {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?)(?:([kmg])i?)?b?$/i.exec(text) ?? [];
  return scale(digits, factors[unit === "" ? "" : `${unit.toLowerCase()}i`]);
}

/** Milliseconds of `30s`, `1m30s`, `50ms`. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+$/.test(text)) return undefined;
  const units: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5 };
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g);
  return [...parts].reduce((sum, [, digits, unit = ""]) => sum + Number(digits) * (units[unit] ?? 0), 0);
}

function scale(digits: string | undefined, factor: number | undefined): number | undefined {
  if (digits === undefined || factor === undefined) return undefined;
  if (Number(digits) === 0) return undefined;
  return Math.min(Math.max(Math.round(Number(digits) * factor), 1), Number.MAX_SAFE_INTEGER);
}
