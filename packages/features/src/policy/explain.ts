import type { FeatureInstance } from "@bpfleet/kernel";
import { renderRef, type Origin } from "@bpfleet/base";
import type { Decision, SeenPacket } from "../feature.ts";
import { renderAddress } from "../filter/address.ts";
import { faultTexts } from "../filter/reasons.ts";
import { decodeExplained, explainedFlag, explainedSize, verdict, type Explained } from "../generated/shared.ts";
import type { PolicyData, PolicyEndpoint } from "./plan.ts";
import { readOpening } from "./read-opening.ts";
import { reasonNames, reasonTexts } from "./reasons.ts";

/** In words what a dry run left, or an event brought. */
export function explainPolicy(
  instance: FeatureInstance,
  scratch: Uint8Array,
  _readings?: unknown,
  seen?: SeenPacket,
): Decision {
  if (scratch.byteLength < explainedSize) {
    throw new RangeError(`explain ${instance.key}: ${scratch.byteLength} bytes given, ${explainedSize} expected`);
  }
  const explained = decodeExplained(new DataView(scratch.buffer, scratch.byteOffset, scratch.byteLength));
  const reason = reasonNames.get(explained.reason) ?? `reason_${explained.reason}`;
  const rule = explained.rule === 0 ? undefined : instance.rules.find(({ index }) => index === explained.rule);
  const isPass = explained.verdict === verdict.pass;
  const peer = addressOf(explained);
  const place = placeOf(instance, peer, seen);
  const isolatedBy = reason === "default_deny" && rule === undefined ? place?.isolatedBy : undefined;
  const owner = rule?.origin.object ?? isolatedBy?.[0]?.object ?? instance.owner;
  const why = isolatedBy === undefined ? (reasonTexts[reason] ?? faultTexts[reason]) : isolationText(place, isolatedBy);
  const by = rule && `${renderRef(owner)}${rule.origin.path === "" ? "" : ` ${rule.origin.path}`}: ${rule.text}`;
  const said = by === undefined ? (why ?? reason) : why === undefined || tellsOfRule(reason) ? by : `${why}; ${by}`;
  return {
    owner,
    verdict: isPass ? "pass" : "drop",
    reason,
    rule,
    ...(isolatedBy !== undefined && { isolatedBy }),
    text: `${isPass ? "passed" : "dropped"}${peer === undefined ? "" : ` (peer ${peer})`}: ${said}`,
  };
}

interface Place {
  readonly endpoint: PolicyEndpoint;
  /** As the pod sees it. */
  readonly direction: "ingress" | "egress";
  readonly isolatedBy: readonly Origin[] | undefined;
}

/** What comes from the peer is what the pod receives. */
function placeOf({ data }: FeatureInstance, peer: string | undefined, seen: SeenPacket | undefined): Place | undefined {
  const { endpoints, isolating = [] } = data as PolicyData;
  const source = seen && readOpening(seen.head, seen.layer)?.source;
  const endpoint = endpoints.find(({ ifindex }) => ifindex === seen?.ifindex);
  if (endpoint === undefined || source === undefined || peer === undefined) return undefined;
  const direction = renderAddress(source) === peer ? "ingress" : "egress";
  const origins = (endpoint.isolatedBy?.[direction] ?? []).flatMap((at) => isolating[at] ?? []);
  return { endpoint, direction, isolatedBy: origins.length === 0 ? undefined : origins };
}

function isolationText(place: Place | undefined, isolatedBy: readonly Origin[]): string {
  const names = [...new Set(isolatedBy.map(({ object }) => renderRef(object)))].join(", ");
  const whom = place === undefined ? "the pod" : `pod ${place.endpoint.namespace}/${place.endpoint.pod}`;
  return `no rule allows it, and ${names} let${names.includes(",") ? "" : "s"} ${whom} ${
    place?.direction === "egress" ? "send" : "receive"
  } only what a rule allows`;
}

/** The rule says more than the reason. */
function tellsOfRule(reason: string): boolean {
  return reason === "allowed" || reason === "denied";
}

function addressOf({ flags, address }: Explained): string | undefined {
  if (flags & explainedFlag.ipv4) return renderAddress(address.subarray(0, 4));
  return flags & explainedFlag.ipv6 ? renderAddress(address) : undefined;
}
