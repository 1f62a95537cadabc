import type { Parsed } from "../../kind.ts";
import type { EBPFMap } from "./schema.ts";

/** Why a program cannot look addresses up in a map, or `undefined` when it can. */
export function whyNoLookup(map: Parsed<EBPFMap>): string | undefined {
  const { type, keySize, valueSize } = map.object.spec;
  if (type !== "lpm_trie") return `it is of type ${type}, not lpm_trie`;
  if (keySize !== 8 && keySize !== 20) return `its keySize is ${keySize}; it must be 8 (IPv4) or 20 (IPv6)`;
  return valueSize === 4 ? undefined : `its valueSize is ${valueSize}; it must be 4 (1 drops, 0 passes)`;
}
