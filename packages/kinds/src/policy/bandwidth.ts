import { parseRate } from "../quantity/quantity.ts";

/** Bits each second of `50M`, `1Gbit`, `1.5 Mbps`, `10kbit/s` or a number; `undefined` for anything else, and for 0. */
export function parseBandwidth(text: string | number): number | undefined {
  return parseRate(
    String(text)
      .replace(/^([\d.]+) /, "$1")
      .replace(/bit\/s$/i, "bit"),
  );
}
