import type { MapEntries } from "@bpfleet/kernel";
import {
  decodeTrial,
  decodeTrialKey,
  decodeTrialTotals,
  trialKeySize,
  trialSize,
  trialTotalsSize,
} from "./generated/policy.ts";

/** What would become of flows if the policies that are tried out were in force, where it is not what becomes of them. */
export interface PolicyTrial {
  readonly ifindex: number;
  /** Who opens them, as the pod sees it. */
  readonly opened: "ingress" | "egress";
  /** 4 or 16 bytes in network order. */
  readonly peer: Uint8Array;
  /** IP protocol. */
  readonly protocol: number;
  /** Of the end that is asked; ICMP's type. */
  readonly port: number;
  readonly would: "drop" | "pass";
  /** Flows that were opened, or judged again after an edit. */
  readonly flows: bigint;
  /** By the monotonic clock. */
  readonly seenNs: bigint;
  /** Of the table that was asked last. */
  readonly serial: bigint;
  /** Index of the rule in that table; 0: what no rule allows. */
  readonly rule: number;
}

export interface TrialTotals {
  readonly asked: bigint;
  readonly wouldDrop: bigint;
  readonly wouldPass: bigint;
  /** Not among the trials, of which there are too many. */
  readonly lost: bigint;
}

export function readTrials({ count, keys, values }: MapEntries): readonly PolicyTrial[] {
  const keyView = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  const valueView = new DataView(values.buffer, values.byteOffset, values.byteLength);
  return Array.from({ length: count }, (_, at) => {
    const key = decodeTrialKey(keyView, at * trialKeySize);
    const { flows, seenNs, serial, rule, wouldDrop } = decodeTrial(valueView, at * trialSize);
    const peer = new Uint8Array(16);
    const words = new DataView(peer.buffer);
    words.setBigUint64(0, key.high);
    words.setBigUint64(8, key.low);
    const isIpv4 = key.high === 0n && key.low >> 32n === 0xffffn;
    return {
      ifindex: key.ifindex,
      opened: key.opened === 0 ? "ingress" : "egress",
      peer: isIpv4 ? peer.subarray(12) : peer,
      protocol: key.protocol,
      port: key.port,
      would: wouldDrop === 0 ? "pass" : "drop",
      flows,
      seenNs,
      serial,
      rule,
    };
  });
}

/** Summed over the CPUs. */
export function readTrialTotals({ values }: MapEntries): TrialTotals {
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  const sum = { asked: 0n, wouldDrop: 0n, wouldPass: 0n, lost: 0n };
  for (let at = 0; at + trialTotalsSize <= values.byteLength; at += trialTotalsSize) {
    const one = decodeTrialTotals(view, at);
    sum.asked += one.asked;
    sum.wouldDrop += one.wouldDrop;
    sum.wouldPass += one.wouldPass;
    sum.lost += one.lost;
  }
  return sum;
}
