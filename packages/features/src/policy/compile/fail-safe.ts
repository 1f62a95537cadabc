import type { FailSafePorts, NodeFacts, RuleRef } from "@bpfleet/kernel";
import { nodeRef } from "./node-endpoint.ts";
import { readPeer, type Peers } from "./peers.ts";
import { keyedRanges, rangeOfPort, type PortSets, type SpaceRange } from "./port-sets.ts";
import type { Direction, ReadRule } from "./read-rule.ts";
import { ruleId } from "./rule-text.ts";

interface Shelf {
  readonly peers: Peers;
  readonly portSets: PortSets;
  number(id: string, text: string, origin: RuleRef["origin"]): number;
}

/** The rules that keep them open, before all others. */
export function failSafeRules(
  open: FailSafePorts,
  facts: Pick<NodeFacts, "nodeName">,
  shelf: Shelf,
): Readonly<Record<Direction, readonly ReadRule[]>> {
  const make = (id: string, text: string, peers: ReadRule["peers"], ports: FailSafePorts[Direction]): ReadRule => {
    const ranges = ports.map(({ protocol, from, to }): SpaceRange => {
      const { space } = rangeOfPort(protocol, from);
      return { space, from, to };
    });
    return {
      intent: undefined,
      verdict: "pass",
      index: shelf.number(ruleId(id), text, { object: nodeRef(facts), path: "" }),
      keepsFlows: false,
      peers,
      ports: ranges.length === 0 ? undefined : shelf.portSets.intern(keyedRanges(ranges)),
      namedPorts: [],
      dns: [],
      precedence: -1,
    };
  };
  const ofPorts = (direction: Direction): ReadRule =>
    make(`fail-safe ${direction}`, `the fail-safe ports of this node stay open, ${direction}`, "any", open[direction]);
  const toApiServer = (): ReadRule => {
    const meaning = readPeer({
      peer: "entity",
      entity: "kube-apiserver",
      origin: { object: nodeRef(facts), path: "" },
    });
    const peers = typeof meaning === "string" ? [] : [shelf.peers.number(meaning, true)];
    return make("fail-safe API server", "this node reaches the API server", peers, [
      { protocol: "TCP", from: 1, to: 65_535 },
    ]);
  };
  return {
    ingress: [ofPorts("ingress")],
    egress: [ofPorts("egress"), ...(open.reachesApiServer ? [toApiServer()] : [])],
  };
}
