import { fingerprint } from "@bpfleet/base";
import type { MapEntries } from "@bpfleet/kernel";
import {
  decodeEvent as decodeStruct,
  encodeTraceSwitch,
  eventLayer,
  eventSize,
  explainedFlag,
  explainedSize,
  lostEvent,
  sample,
  traceSwitchSize,
  verdict,
} from "./generated/shared.ts";
import { sumPerCpu } from "./per-cpu.ts";

/** One sampled verdict, as a program reported it. */
export interface VerdictEvent {
  /** Nanoseconds since boot, without suspend (CLOCK_MONOTONIC). */
  readonly timeNs: bigint;
  /** `instanceId` of the feature instance that judged. */
  readonly instanceId: bigint;
  readonly ifindex: number;
  readonly lengthBytes: number;
  /** What `head` starts with. */
  readonly layer: "ethernet" | "network";
  /** The packet's first bytes, at most 128. */
  readonly head: Uint8Array;
  readonly verdict: "pass" | "drop";
  /** It passes, and is the first of a flow. */
  readonly opensFlow: boolean;
  /** For the `explain` of the instance's feature. */
  readonly scratch: Uint8Array;
}

const decisionAt = 32;

/** A record of the map `node/events`; `undefined` for anything else. */
export function decodeEvent(record: Uint8Array): VerdictEvent | undefined {
  if (record.byteLength < eventSize) return undefined;
  const event = decodeStruct(new DataView(record.buffer, record.byteOffset, record.byteLength));
  return {
    timeNs: event.timeNs,
    instanceId: event.instance,
    ifindex: event.ifindex,
    lengthBytes: event.length,
    layer: event.layer === eventLayer.network ? "network" : "ethernet",
    head: event.head.subarray(0, event.headLength),
    verdict: event.decision.verdict === verdict.pass ? "pass" : "drop",
    opensFlow: (event.decision.flags & explainedFlag.opening) !== 0,
    scratch: record.slice(decisionAt, decisionAt + explainedSize),
  };
}

export { eventSize };

/** Drops alone; those and what opens a flow; or every packet. */
export type SampledPackets = "drop" | "flow" | "all";

export interface Sampling {
  /** One packet in so many; 0 reports nothing. */
  readonly every: number;
  readonly only: SampledPackets;
  /** 0 is all instances. */
  readonly instanceId?: bigint | undefined;
}

const sampleBits: Readonly<Record<SampledPackets, number>> = {
  drop: 1 << sample.drop,
  flow: (1 << sample.drop) | (1 << sample.opening),
  all: 0,
};

/** The value of the one entry of the map `node/trace`. */
export function encodeSampling({ every, only, instanceId = 0n }: Sampling): Uint8Array {
  const value = new Uint8Array(traceSwitchSize);
  encodeTraceSwitch({ every, samples: sampleBits[only], instance: instanceId }, new DataView(value.buffer));
  return value;
}

/** What found the ring full, since the kernel has the map `node/lost-events`. */
export interface LostEvents {
  /** Sampled verdicts. */
  readonly verdicts: bigint;
  /** Flows that rules log. */
  readonly flows: bigint;
}

export function readLostEvents(entries: MapEntries): LostEvents {
  const counts = sumPerCpu(entries, lostEvent.rows);
  return { verdicts: counts[lostEvent.verdict] ?? 0n, flows: counts[lostEvent.flow] ?? 0n };
}

/** What the programs of an instance call themselves in events. */
export function instanceIdOf(instanceKey: string): bigint {
  return BigInt(`0x${fingerprint(instanceKey)}`);
}
