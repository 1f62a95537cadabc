import type { FeatureInstance } from "@bpfleet/kernel";
import { renderRef, type Origin } from "@bpfleet/base";
import type { Decision, MapReadings, SeenPacket } from "../feature.ts";
import { renderAddress } from "../filter/address.ts";
import { faultTexts } from "../filter/reasons.ts";
import { decodeExplained, explainedFlag, explainedSize, verdict, type Explained } from "../generated/shared.ts";
import type { PolicyData, PolicyEndpoint } from "./instances.ts";
import { namesOf } from "./learnt.ts";
import { isFromPeer } from "./read-opening.ts";
import { reasonNames, reasonTexts } from "./reasons.ts";

/** Roles of maps in which stands what answers of DNS have taught. */
export const learntRoles = ["learnt", "known_names"] as const;

/** In words what a dry run left, or an event brought. */
export function explainPolicy(
  instance: FeatureInstance,
  scratch: Uint8Array,
  readings?: MapReadings,
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
  const learnt =
    place?.direction === "egress" && isOfPeer(reason)
      ? learntText(place, peerOf(explained) ?? new Uint8Array(), readings, seen)
      : "";
  const said = by === undefined ? (why ?? reason) : why === undefined || tellsOfRule(reason) ? by : `${why}; ${by}`;
  return {
    owner,
    verdict: isPass ? "pass" : "drop",
    reason,
    rule,
    ...(isolatedBy !== undefined && { isolatedBy }),
    ...(peer !== undefined && { peer }),
    text: `${isPass ? "passed" : "dropped"}${peer === undefined ? "" : ` (peer ${peer}${learnt})`}: ${said}`,
  };
}

/** It is about whom the packet is for. */
function isOfPeer(reason: string): boolean {
  return ["allowed", "established", "denied", "default_deny", "revoked", "kept"].includes(reason);
}

const second = 1_000_000_000n;

/** By which names the pod knows the peer. */
function learntText(
  { ifindex }: Place,
  peer: Uint8Array,
  readings: MapReadings | undefined,
  seen: SeenPacket | undefined,
): string {
  const [learnt, known] = learntRoles.map((role) => readings?.get(role));
  if (learnt === undefined || known === undefined || seen?.nowNs === undefined) return "";
  const now = seen.nowNs;
  const names = namesOf(learnt, known, ifindex, peer)
    .toSorted((a, b) => (a.untilNs > b.untilNs ? -1 : 1))
    .map(({ name, untilNs }) =>
      untilNs > now
        ? `${name}, ${(untilNs - now) / second} s left`
        : `${name}, ended ${(now - untilNs) / second} s ago`,
    );
  return names.length === 0 ? "" : `, learnt as ${names.join("; ")}`;
}

interface Place {
  /** One, or several pods that are said to be in one network namespace. */
  readonly endpoints: readonly PolicyEndpoint[];
  readonly ifindex: number;
  /** As the pod sees it. */
  readonly direction: "ingress" | "egress";
  readonly isolatedBy: readonly Origin[] | undefined;
}

/** What comes from the peer is what the pod receives. */
function placeOf({ data }: FeatureInstance, peer: string | undefined, seen: SeenPacket | undefined): Place | undefined {
  const { about, endpoints, isolating = [] } = data as PolicyData;
  const own = about === "host" ? endpoints.slice(0, 1) : endpoints.filter(({ ifindex }) => ifindex === seen?.ifindex);
  const [first] = own;
  if (first === undefined || seen === undefined || peer === undefined) return undefined;
  const isReceived = isFromPeer(peer, seen.head, seen.layer);
  if (isReceived === undefined) return undefined;
  const direction = isReceived ? "ingress" : "egress";
  const places = new Set(own.flatMap(({ isolatedBy }) => isolatedBy?.[direction] ?? []));
  const origins = [...places].flatMap((at) => isolating[at] ?? []);
  const isolatedBy = origins.length === 0 ? undefined : origins;
  return { endpoints: own, ifindex: first.ifindex, direction, isolatedBy };
}

function isolationText(place: Place | undefined, isolatedBy: readonly Origin[]): string {
  const names = [...new Set(isolatedBy.map(({ object }) => renderRef(object)))].join(", ");
  const whom = (place?.endpoints ?? [])
    .map(({ namespace, pod, isNode }) => (isNode === true ? `node ${pod} itself` : `pod ${namespace}/${pod}`))
    .join(" and ");
  return `no rule allows it, and ${names} let${names.includes(",") ? "" : "s"} ${whom || "the pod"} ${
    place?.direction === "egress" ? "send" : "receive"
  } only what a rule allows`;
}

/** The rule says more than the reason. */
function tellsOfRule(reason: string): boolean {
  return reason === "allowed" || reason === "denied";
}

function peerOf({ flags, address }: Explained): Uint8Array | undefined {
  if (flags & explainedFlag.ipv4) return address.subarray(0, 4);
  return flags & explainedFlag.ipv6 ? address : undefined;
}

function addressOf(explained: Explained): string | undefined {
  const peer = peerOf(explained);
  return peer && renderAddress(peer);
}
