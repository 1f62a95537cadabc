import type { RuleRef } from "@bpfleet/kernel";
import type { PolicyTable } from "../table/policy-table.ts";
import { writeTable } from "../table/write-table.ts";
import { bytesOfKey, isOfOneLink, parseAddressKey, widthOf } from "./address-key.ts";
import type { CompileFacts, PolicyInput } from "./compile-policy.ts";
import type { WrittenPolicy } from "./compile-safely.ts";
import { serialOf } from "./digest.ts";
import { hostAccessRef } from "./rule-book.ts";
import type { LocalPod } from "./statements.ts";
import { drops } from "./table-maker.ts";

/**
 * Where nothing can be compiled: nothing passes any pod of this node but, where it always may, what this node sends
 * to it. It reads as little as there is to read, since what it reads may be why.
 */
export function closeEverything(
  { workloads, settings }: PolicyInput,
  facts: CompileFacts,
  slotOf: (rules: readonly RuleRef[]) => number,
): WrittenPolicy {
  const pods = workloads.flatMap((workload): readonly LocalPod[] => {
    const key = workload.endpoint;
    return key === undefined ? [] : [{ workload, key, facts: facts.endpoints?.[key], statements: [] }];
  });
  const ifindexes = new Set(pods.flatMap(({ facts }) => (facts?.found ? [facts.ifindex] : [])));
  const hostAccess = hostAccessRef(facts.nodeName);
  const rules = [hostAccess];
  const isReached = settings.hostAccess !== "never";
  const keys = new Set(
    facts.interfaces.flatMap(({ addresses }) =>
      addresses.flatMap((text) => {
        const address = parseAddressKey(text);
        return address === undefined || isOfOneLink(address) ? [] : [address];
      }),
    ),
  );
  const passes = { rule: hostAccess.index, verdict: "pass", keepsFlows: false } as const;
  const table: Omit<PolicyTable, "serial"> = {
    counterSlot: slotOf(rules),
    classCount: 2,
    unknownClass: { ipv4: 0, ipv6: 0 },
    addresses: [...keys].map((key) => ({
      bytes: bytesOfKey(key),
      length: widthOf(key) === 32 ? 128 : widthOf(key),
      class: 1,
    })),
    endpoints: [...ifindexes].map((ifindex) => ({ ifindex, ingress: [0], egress: [1] })),
    tables: [
      {
        rows: Uint16Array.of(0, 1),
        columnMap: 0,
        cells: isReached ? [{ row: 1, column: 0, rank: 0 }] : [],
        rules: [passes, drops],
      },
      { rows: Uint16Array.of(0, 0), columnMap: 0, cells: [], rules: [drops] },
    ],
    columnMaps: [{ tcp: [], udp: [], sctp: [], icmp: [], icmpv6: [], others: [] }],
  };
  const whole = { serial: serialOf(table), ...table };
  return {
    table: whole,
    written: writeTable(whole),
    rules,
    rulesOf: new Map(),
    logValues: new Map(),
    pods,
    selection: { statements: [], pods },
    closed: [],
  };
}
