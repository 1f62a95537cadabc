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

/** Bits each second of `50M`, `1Gbit`, `512Ki`, `100Mbps` or a number; `undefined` for anything else. */
export function parseBandwidth(text: string | number): number | undefined {
  const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgt]i?)?(?:bit|bps|bit\/s)?$/i.exec(String(text)) ?? [];
  const factor = factors[unit.toLowerCase()];
  if (digits === "" || factor === undefined) return undefined;
  const bits = Math.round(Number(digits) * factor);
  return Number.isSafeInteger(bits) && bits > 0 ? bits : undefined;
}
