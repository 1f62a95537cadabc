import type { NodeFacts } from "@bpfleet/kernel";
import { endpointMark, endpointNumber } from "../generated/policy.ts";
import type { TableEndpoint } from "../table/policy-table.ts";
import { hostAddresses } from "./node-endpoint.ts";
import { ownAddresses } from "./own-addresses.ts";
import type { LocalPod, Statement } from "./statements.ts";
import type { TableMaker } from "./table-maker.ts";

interface Tables {
  readonly pods: LocalPod[];
  readonly ingress: Set<number>;
  readonly egress: Set<number>;
}

/**
 * Of pods on one interface (one is gone, and its facts not yet) everything must allow. Those that something is tried
 * out on have an entry more, marked, of all policies.
 */
export function placeEndpoints(
  pods: readonly LocalPod[],
  maker: TableMaker,
  statements: readonly Statement[],
  facts: Pick<NodeFacts, "interfaces">,
): readonly TableEndpoint[] {
  const byInterface = new Map<number, Tables>();
  const add = (pod: LocalPod, entry: number, isTried: boolean): void => {
    const tables = byInterface.get(entry) ?? { pods: [], ingress: new Set<number>(), egress: new Set<number>() };
    byInterface.set(entry, tables);
    tables.pods.push(pod);
    for (const direction of ["ingress", "egress"] as const) {
      const own = isTried ? maker.triedTablesOf(pod, direction) : maker.tablesOf(pod, direction);
      for (const table of own) tables[direction].add(table);
    }
  };
  const isTried = (number: number): boolean => statements[number]?.intent.policy.mode === "shadow";
  const found = pods.flatMap((pod) => (pod.facts?.found === true ? [{ pod, ifindex: pod.facts.ifindex }] : []));
  const tried = new Set(found.flatMap(({ pod, ifindex }) => (pod.statements.some(isTried) ? [ifindex] : [])));
  for (const { pod, ifindex } of found) {
    add(pod, ifindex, false);
    if (tried.has(ifindex)) add(pod, triedEntry(ifindex), true);
  }
  const atMostThree = (tables: ReadonlySet<number>): readonly number[] =>
    tables.size > 3 ? [maker.closedTable()] : [...tables];
  return [...byInterface]
    .toSorted(([a], [b]) => a - b)
    .map(([ifindex, { pods: own, ingress, egress }]) => ({
      ifindex,
      ingress: atMostThree(ingress),
      egress: atMostThree(egress),
      addresses:
        ifindex === endpointNumber.host ? hostAddresses(facts) : ifindex < endpointMark.tried ? ownAddresses(own) : [],
    }));
}

/** bpf/include/policy-shadow.h */
export function triedEntry(ifindex: number): number {
  return (ifindex | endpointMark.tried) >>> 0;
}
