import type { NodeFacts, RuleRef } from "@bpfleet/kernel";
import { nodeRef } from "./node-endpoint.ts";
import { keyedRanges, rangeOfPort, type PortSets, type SpaceRange } from "./port-sets.ts";
import type { Direction, ReadRule } from "./read-rule.ts";
import { ruleId } from "./rule-text.ts";

/** Ports of the node itself that no policy closes, as its settings say. */
export interface FailSafePorts {
  readonly ingress: readonly FailSafePort[];
  readonly egress: readonly FailSafePort[];
}

export interface FailSafePort {
  readonly protocol: "TCP" | "UDP";
  readonly from: number;
  readonly to: number;
}

const port = (protocol: FailSafePort["protocol"], from: number, to = from): FailSafePort => ({ protocol, from, to });

/** DHCP's, of IPv4 and IPv6. */
const addressing = [port("UDP", 67, 68), port("UDP", 546, 547)];
const controlPlane = [port("TCP", 6443), port("TCP", 2379, 2380), port("TCP", 10250)];

/** SSH, the kubelet, the API server, etcd, DHCP; of what the node sends, also to DNS. */
export const usualFailSafePorts: FailSafePorts = {
  ingress: [port("TCP", 22), ...controlPlane, ...addressing],
  egress: [...controlPlane, port("TCP", 53), port("UDP", 53), ...addressing],
};

/** The rule that keeps them open, before all others. */
export function failSafeRule(
  direction: Direction,
  ports: readonly FailSafePort[],
  facts: Pick<NodeFacts, "nodeName">,
  portSets: PortSets,
  number: (id: string, text: string, origin: RuleRef["origin"]) => number,
): ReadRule {
  const ranges = ports.flatMap(({ protocol, from, to }): SpaceRange[] => {
    const { space } = rangeOfPort(protocol, from);
    return [{ space, from, to }];
  });
  const text = `the fail-safe ports of this node stay open, ${direction}`;
  return {
    intent: undefined,
    verdict: "pass",
    index: number(ruleId(`fail-safe ${direction}`), text, { object: nodeRef(facts), path: "" }),
    keepsFlows: false,
    peers: "any",
    ports: ranges.length === 0 ? undefined : portSets.intern(keyedRanges(ranges)),
    namedPorts: [],
    dns: [],
    precedence: -1,
  };
}
