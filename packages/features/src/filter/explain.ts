import type { FeatureInstance, MapEntries, RuleRef } from "@bpfleet/kernel";
import type { Decision, MapReadings } from "../feature.ts";
import { decodeExplained, explainedFlag, explainedSize, verdict, type Explained } from "../generated/shared.ts";
import { renderAddress, renderPrefix } from "./address.ts";
import type { FilterData } from "./plan.ts";
import { faultTexts, reasonNames } from "./reasons.ts";

export const explainRoles = ["live4_a", "live4_b", "live6_a", "live6_b"] as const;

/** In words what a dry run left, or an event brought. */
export function explainFilter(instance: FeatureInstance, scratch: Uint8Array, readings: MapReadings): Decision {
  if (scratch.byteLength < explainedSize) {
    throw new RangeError(`explain ${instance.key}: ${scratch.byteLength} bytes given, ${explainedSize} expected`);
  }
  const explained = decodeExplained(new DataView(scratch.buffer, scratch.byteOffset, scratch.byteLength));
  const reason = reasonNames.get(explained.reason) ?? `reason_${explained.reason}`;
  const rule = explained.rule === 0 ? undefined : instance.rules.find(({ index }) => index === explained.rule);
  const isPass = explained.verdict === verdict.pass;
  return {
    owner: instance.owner,
    verdict: isPass ? "pass" : "drop",
    reason,
    rule,
    text: `${isPass ? "passed" : "dropped"}: ${why(reason, explained, instance, rule, readings)}`,
  };
}

function why(
  reason: string,
  explained: Explained,
  instance: FeatureInstance,
  rule: RuleRef | undefined,
  readings: MapReadings,
): string {
  const data = instance.data as FilterData;
  const limit = `${data.packetsPerSecond} packets per second`;
  const isLimit = reason === "rate_limited" || (reason === "allowed" && data.packetsPerSecond !== undefined);
  const end = data.direction === "egress" && !isLimit ? "destination" : "source";
  const who = `${end} ${addressOf(explained) ?? "unknown"}`;
  switch (reason) {
    case "allowed":
      if (addressOf(explained) === undefined) return "nothing is judged here";
      return isLimit ? `${who} is on no list and within ${limit}` : `${who} is on no list`;
    case "not_ip":
      return "it carries no IP";
    case "reply":
      return `it answers a flow that left${data.interface === undefined ? "" : ` by ${data.interface}`}`;
    case "blacklist":
      return rule === undefined || rule.text === addressOf(explained)
        ? `${who} is on the list`
        : `${who} is in ${rule.text}`;
    case "blacklist_map":
      return `${who} is blocked ${blockingEntry(instance, explained, rule, readings)}`;
    case "rate_limited":
      return `${who} is over ${limit}`;
    default:
      return faultTexts[reason] ?? reason;
  }
}

function addressOf({ flags, address }: Explained): string | undefined {
  if (flags & explainedFlag.ipv4) return renderAddress(address.subarray(0, 4));
  return flags & explainedFlag.ipv6 ? renderAddress(address) : undefined;
}

/** `by 10.10.10.0/24 in map default/blacklist-map`, when the map was read. */
function blockingEntry(
  instance: FeatureInstance,
  { flags, address }: Explained,
  rule: RuleRef | undefined,
  readings: MapReadings,
): string {
  const map = rule?.text ?? "a map";
  const bytes = flags & explainedFlag.ipv4 ? address.subarray(0, 4) : address;
  const role = explainRoles.find(
    (name) => rule !== undefined && `map ${instance.maps[name]?.replace(/^maps\//, "")}` === rule.text,
  );
  const entries = role && readings.get(role);
  const prefix = entries && longestEntry(entries, bytes);
  return prefix === undefined ? `in ${map}` : `by ${prefix} in ${map}`;
}

/** The longest prefix of an LPM map that holds the address. */
function longestEntry({ count, keys }: MapEntries, address: Uint8Array): string | undefined {
  const size = 4 + address.length;
  if (keys.byteLength < count * size) return undefined;
  const view = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  let best: { length: number; bytes: Uint8Array } | undefined;
  for (let entry = 0; entry < count; entry++) {
    const length = view.getUint32(entry * size, true);
    const bytes = keys.subarray(entry * size + 4, (entry + 1) * size);
    if ((best === undefined || length > best.length) && holds(bytes, length, address)) best = { length, bytes };
  }
  return best && renderPrefix(best.bytes, best.length);
}

function holds(prefix: Uint8Array, length: number, address: Uint8Array): boolean {
  return prefix.every((byte, at) => {
    const bits = Math.max(0, Math.min(8, length - at * 8));
    return ((byte ^ (address[at] ?? 0)) & (0xff00 >> bits) & 0xff) === 0;
  });
}
