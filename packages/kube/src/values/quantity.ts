const binary: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
};

const decimal: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };

const nano = 1_000_000_000n;

/** An amount as the API writes it, exact to a billionth; finer is rounded up, as Kubernetes does. */
export interface Quantity {
  /** Billionths. */
  readonly nanos: bigint;
}

/** `100m`, `1.5Gi`, `2e3`; `undefined` for anything else. */
export function parseQuantity(text: string): Quantity | undefined {
  const match = /^([+-]?)(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,3})?$/.exec(text);
  if (match === null) return undefined;
  const [, sign = "", digits = "", suffix = ""] = match;
  const [whole = "", fraction = ""] = digits.split(".");
  const multiplier = binary[suffix];
  const exponent = multiplier === undefined ? (decimal[suffix] ?? Number(suffix.slice(1))) : 0;
  const unscaled = BigInt(`${whole}${fraction}` || "0") * (multiplier ?? 1n);
  const nanos = shiftUp(unscaled, 9 + exponent - fraction.length);
  return { nanos: sign === "-" ? -nanos : nanos };
}

/** Rounded up, away from zero, to whole units: what `Quantity.Value()` of Go tells. */
export function quantityValue({ nanos }: Quantity): bigint {
  const whole = nanos / nano;
  if (nanos % nano === 0n) return whole;
  return nanos > 0n ? whole + 1n : whole - 1n;
}

/** Thousandths, rounded up: processors as `250m`. */
export function quantityMilli({ nanos }: Quantity): bigint {
  return quantityValue({ nanos: nanos * 1000n });
}

export function compareQuantities(a: Quantity, b: Quantity): -1 | 0 | 1 {
  return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;
}

function shiftUp(value: bigint, powerOfTen: number): bigint {
  if (powerOfTen >= 0) return value * 10n ** BigInt(powerOfTen);
  const divisor = 10n ** BigInt(-powerOfTen);
  return (value + divisor - 1n) / divisor;
}
