import type { FeatureInstance, NodeFacts } from "@bpfleet/kernel";
import { renderAddress } from "../filter/address.ts";
import { decodeLoggedFlow, loggedFlowSize } from "./generated/policy.ts";
import type { PolicyData, PolicyEndpoint } from "./instances.ts";

/** A flow that a rule with action log opened, or a packet that one which logs denied. */
export interface LoggedFlow {
  /** Nanoseconds since boot, without suspend. */
  readonly timeNs: bigint;
  /** Of the table that decided. */
  readonly serial: bigint;
  /** Index of the rule in that table, and the slot of the counters that it is an index in. */
  readonly rule: number;
  readonly counterSlot: number;
  /** Of the rule, so far: not told, since there were too many. */
  readonly missed: number;
  readonly direction: "ingress" | "egress";
  readonly verdict: "allow" | "deny";
  readonly ifindex: number;
  readonly local: LogEnd;
  readonly remote: LogEnd;
  /** IP protocol. */
  readonly protocol: number;
  readonly icmpType: number;
  readonly bytes: number;
}

interface LogEnd {
  /** 4 or 16 bytes in network order. */
  readonly address: Uint8Array;
  readonly port: number;
}

/** What the key of a flow begins with, in a record. */
const keyAt = 16;

/** A record of the map `node/events`; `undefined` for anything else. */
export function readLoggedFlow(record: Uint8Array): LoggedFlow | undefined {
  if (record.byteLength !== loggedFlowSize) return undefined;
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const { timeNs, serial, key, rule, missed, opened, isIpv6, drops, icmpType, length, counters } =
    decodeLoggedFlow(view);
  const bytesAt = (at: number, count: number): Uint8Array => record.subarray(keyAt + at, keyAt + at + count);
  const address = (low: number, high: number): Uint8Array =>
    isIpv6 === 0 ? bytesAt(low, 4).slice() : Uint8Array.of(...bytesAt(high, 12), ...bytesAt(low, 4));
  return {
    timeNs,
    serial,
    rule,
    counterSlot: counters,
    missed,
    direction: opened === 0 ? "ingress" : "egress",
    verdict: drops === 0 ? "allow" : "deny",
    ifindex: key.ifindex,
    local: { address: address(12, 20), port: view.getUint16(keyAt + 4) },
    remote: { address: address(16, 32), port: view.getUint16(keyAt + 6) },
    protocol: key.protocol,
    icmpType,
    bytes: length,
  };
}

/** One line of the log. */
export interface LogEntry {
  /** RFC 3339. */
  readonly time: string;
  readonly verdict: LoggedFlow["verdict"];
  /** As the pod sees it. */
  readonly direction: LoggedFlow["direction"];
  /** Not given where the rule is one that is not known any more. */
  readonly object?: { readonly kind: string; readonly name: string } | undefined;
  readonly namespace?: string | undefined;
  readonly rule?:
    | {
        readonly text: string;
        readonly path: string;
        readonly file?: string;
        readonly line?: number;
        readonly value?: string;
      }
    | undefined;
  readonly endpoint: {
    /** The node itself; else it is a pod. */
    readonly node?: string;
    readonly namespace?: string;
    readonly pod?: string;
    readonly interface?: string;
  } & LogAddress;
  readonly peer: { readonly namespace?: string; readonly pod?: string } & LogAddress;
  readonly protocol: string;
  readonly icmpType?: number;
  /** Flows of the rule that were not told since its last line. */
  readonly missed: number;
}

interface LogAddress {
  readonly address: string;
  readonly port?: number;
}

const protocolNames: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" };

/** `instance`: that of the node whose table decided; `undefined` where that is gone. */
export function describeLoggedFlow(
  flow: LoggedFlow,
  instance: FeatureInstance | undefined,
  endpoints: NodeFacts["endpoints"],
  atMs: number,
  missed: number,
): LogEntry {
  const data = instance?.data as PolicyData | undefined;
  const ref = instance?.rules.find(({ index }) => index === flow.rule);
  const pod = data?.endpoints.find(({ ifindex }) => ifindex === flow.ifindex);
  const { path, object, position } = ref?.origin ?? {};
  const value = data?.logValues?.[flow.rule];
  const hasPorts = flow.protocol === 6 || flow.protocol === 17 || flow.protocol === 132;
  const endOf = ({ address, port }: LogEnd): LogAddress => ({
    address: renderAddress(address),
    ...(hasPorts && { port }),
  });
  return {
    time: new Date(atMs).toISOString(),
    verdict: flow.verdict,
    direction: flow.direction,
    ...(object && { object: { kind: object.kind, name: object.name }, namespace: object.namespace }),
    ...(ref && {
      rule: {
        text: ref.text,
        path: path ?? "",
        ...(position?.file !== undefined && { file: position.file }),
        ...(position !== undefined && { line: position.line }),
        ...(value !== undefined && { value }),
      },
    }),
    endpoint: {
      ...(pod?.isNode === true && { node: pod.pod }),
      ...(pod && pod.isNode !== true && { namespace: pod.namespace, pod: pod.pod, interface: pod.interface }),
      ...endOf(flow.local),
    },
    peer: { ...nameOf(renderAddress(flow.remote.address), data?.endpoints ?? [], endpoints), ...endOf(flow.remote) },
    protocol: protocolNames[flow.protocol] ?? String(flow.protocol),
    ...((flow.protocol === 1 || flow.protocol === 58) && { icmpType: flow.icmpType }),
    missed,
  };
}

/** Of pods of this node that policies select; of others nobody here knows the names. */
function nameOf(
  address: string,
  pods: readonly PolicyEndpoint[],
  endpoints: NodeFacts["endpoints"],
): { readonly namespace?: string; readonly pod?: string } {
  const facts = Object.values(endpoints ?? {}).find(
    (each) => each.found && each.addresses.some((own) => own.split("/")[0] === address),
  );
  const pod = facts?.found === true && pods.find(({ ifindex }) => ifindex === facts.ifindex);
  return pod ? { namespace: pod.namespace, pod: pod.pod } : {};
}
