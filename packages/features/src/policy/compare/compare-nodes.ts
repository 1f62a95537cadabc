import { compilePolicy } from "../compile/compile-policy.ts";
import type { ClosedPolicy } from "../compile/limits.ts";
import { endpointNumber } from "../generated/policy.ts";
import type { HostIntent, PolicyIntent, WorkloadIntent } from "../intent.ts";
import { worldOf } from "./compared-world.ts";
import { findCells, isUpkeepOfNode, type Cell } from "./find-cells.ts";
import { areMet } from "./label-worlds.ts";
import type { Holder, Rounds } from "./rounds.ts";

export interface ComparedNodes {
  readonly before: readonly PolicyIntent[];
  readonly after: readonly PolicyIntent[];
  readonly pods: readonly WorkloadIntent[];
  readonly hosts: readonly HostIntent[];
  readonly rounds: Rounds;
}

/**
 * What nodes themselves receive and send. Those that the same statements select are judged alike, whoever they are: one
 * of them says it for all, and another one of what they have to do with that one.
 */
export function compareNodes(
  { before, after, pods, hosts, rounds }: ComparedNodes,
  refuse: (closed: ClosedPolicy) => unknown,
): readonly Cell[] {
  const selectors = [...before, ...after].flatMap(({ policy }) =>
    policy.statements.flatMap(({ subject }) => (subject.selects === "nodes" ? [subject.where] : [])),
  );
  const selectedBy = ({ labels }: HostIntent): string =>
    selectors.map((where) => Number(areMet(where, labels))).join("");
  const groups = Map.groupBy(hosts, selectedBy);
  const cells: Cell[] = [];
  for (const [key, members] of groups) {
    const [one, another] = members;
    if (one === undefined || !key.includes("1")) continue;
    for (const self of [one, another]) {
      if (self === undefined) continue;
      const all = members.map((host) => ({ judged: { is: "node", host } as const, ifindex: endpointNumber.host }));
      // No node has to do with itself; as if it did, those that are alike are told as one.
      const isMeant = (_: Holder, peer: Holder): boolean =>
        (peer.is === "node" && peer.host === one) === (self !== one);
      for (const round of rounds.all()) {
        const { input, facts } = worldOf(pods, hosts, round, self);
        const compile = (policies: readonly PolicyIntent[]) => compilePolicy({ ...input, policies }, facts, () => 1);
        const [old, renewed] = [compile(before), compile(after)];
        [...old.closed, ...renewed.closed].forEach(refuse);
        cells.push(...findCells(old, renewed, all, round, isMeant).filter((cell) => !isUpkeepOfNode(cell)));
      }
    }
  }
  return cells;
}
