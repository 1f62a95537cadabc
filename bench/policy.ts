/** Tables of many rules, and packets that they are about, for measuring. */
import type { PolicyTable, VerdictTable } from "@bpfleet/features";
import { ipv4Frame } from "./programs.ts";

const none = [] as const;
const ports = 100;

/** Rule `n` allows TCP on one port from an address of its own: 10.0.0.0 + n. */
export function tableOf(ruleCount: number, serial: bigint): PolicyTable {
  const verdicts: VerdictTable = {
    rows: Uint16Array.from({ length: ruleCount + 1 }, (_, at) => (at < ruleCount ? at + 1 : 0)),
    columnMap: 0,
    cells: Array.from({ length: ruleCount }, (_, at) => ({ row: at + 1, column: 1 + (at % ports), rank: at })),
    rules: [
      ...Array.from({ length: ruleCount }, (_, at) => ({ rule: at + 1, verdict: "pass" as const, keepsFlows: false })),
      { rule: 0, verdict: "drop", keepsFlows: false },
    ],
  };
  return {
    serial,
    counterSlot: Number(serial),
    classCount: ruleCount + 1,
    unknownClass: { ipv4: ruleCount, ipv6: ruleCount },
    addresses: Array.from({ length: ruleCount }, (_, at) => ({
      bytes: Uint8Array.from([...new Uint8Array(10), 0xff, 0xff, ...sourceOf(at)]),
      length: 128,
      class: at,
    })),
    // Test runs are on the loopback interface.
    endpoints: [{ ifindex: 1, ingress: [0], egress: [0] }],
    tables: [verdicts],
    columnMaps: [
      {
        tcp: Array.from({ length: ports }, (_, at) => ({ from: portOf(at), to: portOf(at), column: at + 1 })),
        udp: none,
        sctp: none,
        icmp: none,
        icmpv6: none,
        others: none,
      },
    ],
  };
}

const portOf = (rule: number): number => 1000 + (rule % ports) * 10;

function sourceOf(rule: number): number[] {
  return [10, rule >> 16, (rule >> 8) & 0xff, rule & 0xff];
}

export const flags = { syn: 2, ack: 16 } as const;

/** What rule `rule` allows, to the endpoint. */
export function tcpFrame(rule: number, tcpFlags: number): Buffer {
  const frame = ipv4Frame(6, sourceOf(rule), [192, 0, 2, 1], portOf(rule));
  frame.writeUInt8(0x50, 46);
  frame.writeUInt8(tcpFlags, 47);
  return frame;
}
