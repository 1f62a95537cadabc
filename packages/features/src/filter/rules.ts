import { fingerprint } from "@bpfleet/base";
import type { RuleRef } from "@bpfleet/kernel";
import type { FilterIntent, FilterMapRef, Prefix } from "./intent.ts";

/** Everything in a declaration that can drop a packet, numbered: list entries, then maps, then the limit. */
export interface FilterRules {
  readonly rules: readonly RuleRef[];
  readonly listed: readonly { readonly prefix: Prefix; readonly rule: number }[];
  readonly maps: readonly { readonly map: FilterMapRef; readonly rule: number }[];
  /** 0: no limit. */
  readonly rateRule: number;
}

const mapKeyPrefix = "maps/";

export function numberRules(intent: Pick<FilterIntent, "blacklist" | "maps" | "rateLimit">): FilterRules {
  const rules: RuleRef[] = [];
  const add = (id: string, text: string, origin: RuleRef["origin"]): number => {
    const index = rules.length + 1;
    rules.push({ index, id, text, origin });
    return index;
  };
  const listed = (intent.blacklist?.entries ?? []).map(({ prefix, text, origin }) => ({
    prefix,
    rule: add(prefixId(prefix), text, origin),
  }));
  const maps = intent.maps.map((map) => ({
    map,
    rule: add(textId(`map ${map.mapKey}`), `map ${renderMapKey(map.mapKey)}`, map.origin),
  }));
  const { rateLimit } = intent;
  const rateRule = rateLimit
    ? add(textId("rate limit"), `${rateLimit.packetsPerSecond} packets per second`, rateLimit.origin)
    : 0;
  return { rules, listed, maps, rateRule };
}

/** `default/blacklist-map` */
function renderMapKey(key: string): string {
  return key.startsWith(mapKeyPrefix) ? key.slice(mapKeyPrefix.length) : key;
}

/** The prefix itself for IPv4, its hash for IPv6; the ranges are apart, and from those of textId. */
function prefixId({ bytes, length, family }: Prefix): string {
  if (family === 4) return String((length + 1) * 2 ** 32 + (wordAt(bytes, 0) >>> 0));
  let high = length;
  let low = ~length;
  for (let at = 0; at < bytes.length; at += 4) {
    const word = wordAt(bytes, at);
    high = mix(high ^ word);
    low = mix(low + word);
  }
  return String(2 ** 52 + (high & 0xfffff) * 2 ** 32 + (low >>> 0));
}

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
}

/** The finalizer of MurmurHash3. */
function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function textId(text: string): string {
  return String((1n << 60n) + BigInt(`0x${fingerprint(text)}`));
}
