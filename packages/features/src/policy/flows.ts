import type { MapEntries } from "@bpfleet/kernel";
import { decodeFlow, flow4KeySize, flowFlag, flowKeySize, flowState } from "./generated/policy.ts";

/** A connection, or what is like one, as an endpoint sees it. */
export interface PolicyFlow {
  readonly ifindex: number;
  /** 4 or 16 bytes in network order. */
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  /** Of ICMP echo: the identifier, at the end that asks. */
  readonly localPort: number;
  readonly remotePort: number;
  /** IP protocol. */
  readonly protocol: number;
  /** Who opened it, as the endpoint sees it. */
  readonly opened: "ingress" | "egress";
  readonly state: "opening" | "open" | "closing";
  /**
   * `denied`: ceased to be allowed, and is dropped. `kept`: the same, and lives on. `forwarded`: passes the node with its
   * address, and is judged by nobody there.
   */
  readonly marks: readonly ("keeps" | "denied" | "kept" | "forwarded")[];
  /** Of the table that decided. */
  readonly serial: bigint;
  /** Index of the rule in that table. */
  readonly rule: number;
  /** By the monotonic clock, and not later than a second after the last packet. */
  readonly seenNs: bigint;
  /** It was still for so long that the next packet is judged anew. */
  readonly hasEnded: boolean;
}

const second = 1_000_000_000n;
/** bpf/include/policy-flow.h */
const idle = { tcp: 8000n * second, others: 180n * second, oneSided: 60n * second };
const tcp = 6;

/** Entries of flows4 or flows6; `nowNs` by the monotonic clock. */
export function readFlows({ count, keys, values }: MapEntries, nowNs: bigint): readonly PolicyFlow[] {
  if (count === 0) return [];
  const keySize = keys.byteLength / count;
  const valueSize = values.byteLength / count;
  if (keySize !== flow4KeySize && keySize !== flowKeySize)
    throw new RangeError(`read flows: keys of ${keySize} bytes, ${flow4KeySize} or ${flowKeySize} expected`);
  const keyView = new DataView(keys.buffer, keys.byteOffset, keys.byteLength);
  const valueView = new DataView(values.buffer, values.byteOffset, values.byteLength);
  return Array.from({ length: count }, (_, entry) => {
    const at = entry * keySize;
    const { serial, seenNs, rule, opened, state, flags } = decodeFlow(valueView, entry * valueSize);
    const protocol = keyView.getUint32(at + 8, true);
    const address = (low: number, high: number): Uint8Array =>
      keySize === flow4KeySize
        ? keys.slice(at + low, at + low + 4)
        : Uint8Array.of(...keys.subarray(at + high, at + high + 12), ...keys.subarray(at + low, at + low + 4));
    const idleNs = nowNs - seenNs;
    const longest = state !== flowState.answered ? idle.oneSided : protocol === tcp ? idle.tcp : idle.others;
    return {
      ifindex: keyView.getUint32(at, true),
      local: address(12, 20),
      remote: address(16, 32),
      localPort: keyView.getUint16(at + 4),
      remotePort: keyView.getUint16(at + 6),
      protocol,
      opened: opened === 0 ? "ingress" : "egress",
      state: state === flowState.opening ? "opening" : state === flowState.answered ? "open" : "closing",
      marks: (["keeps", "denied", "kept", "forwarded"] as const).filter((mark) => (flags & flowFlag[mark]) !== 0),
      serial,
      rule,
      seenNs,
      hasEnded: idleNs >= longest,
    };
  });
}
