import type { FeatureInstance } from "@bpfleet/kernel";
import { renderRef } from "@bpfleet/base";
import type { Decision } from "../feature.ts";
import { renderAddress } from "../filter/address.ts";
import { faultTexts } from "../filter/reasons.ts";
import { decodeExplained, explainedFlag, explainedSize, verdict, type Explained } from "../generated/shared.ts";
import { reasonNames, reasonTexts } from "./reasons.ts";

/** In words what a dry run left, or an event brought. */
export function explainPolicy(instance: FeatureInstance, scratch: Uint8Array): Decision {
  if (scratch.byteLength < explainedSize) {
    throw new RangeError(`explain ${instance.key}: ${scratch.byteLength} bytes given, ${explainedSize} expected`);
  }
  const explained = decodeExplained(new DataView(scratch.buffer, scratch.byteOffset, scratch.byteLength));
  const reason = reasonNames.get(explained.reason) ?? `reason_${explained.reason}`;
  const rule = explained.rule === 0 ? undefined : instance.rules.find(({ index }) => index === explained.rule);
  const isPass = explained.verdict === verdict.pass;
  const owner = rule?.origin.object ?? instance.owner;
  const why = reasonTexts[reason] ?? faultTexts[reason];
  const by = rule && `${renderRef(owner)}${rule.origin.path === "" ? "" : ` ${rule.origin.path}`}: ${rule.text}`;
  const said = by === undefined ? (why ?? reason) : why === undefined || tellsOfRule(reason) ? by : `${why}; ${by}`;
  const peer = addressOf(explained);
  return {
    owner,
    verdict: isPass ? "pass" : "drop",
    reason,
    rule,
    text: `${isPass ? "passed" : "dropped"}${peer === undefined ? "" : ` (peer ${peer})`}: ${said}`,
  };
}

/** The rule says more than the reason. */
function tellsOfRule(reason: string): boolean {
  return reason === "allowed" || reason === "denied";
}

function addressOf({ flags, address }: Explained): string | undefined {
  if (flags & explainedFlag.ipv4) return renderAddress(address.subarray(0, 4));
  return flags & explainedFlag.ipv6 ? renderAddress(address) : undefined;
}
