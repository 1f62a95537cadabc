import { parseIcmpType } from "../../policy/icmp-types.ts";
import type { DnsRules, PolicyRule, PortMatch, PortProtocol } from "@bpfleet/features";
import { parsePort, portlessProtocols } from "../../policy/port-text.ts";
import type { ReadContext } from "../../policy/read-context.ts";
import type { AnyRule } from "./peer-fields.ts";
import { readName } from "./read-peers.ts";
import type { CiliumPortRule } from "./rule-schema.ts";

type PortItem = NonNullable<CiliumPortRule["ports"]>[number];

const allProtocols = ["TCP", "UDP", "SCTP"] as const satisfies readonly PortProtocol[];

/** What of the traffic is meant; without a list, or with an empty one, all of it. */
export function readPorts(item: AnyRule, at: string, context: ReadContext): PolicyRule["ports"] {
  const { toPorts = [], icmps = [] } = item;
  if (toPorts.length === 0 && icmps.length === 0) return "any";
  const ports = toPorts.flatMap(({ ports: items = [], rules }, index) => {
    const dns = rules?.dns?.flatMap(readName);
    return items.flatMap((port, number) =>
      readPort(port, dns, context.originOf(`${at}/toPorts/${index}/ports/${number}`)),
    );
  });
  const types = icmps.flatMap(({ fields = [] }, index) =>
    fields.flatMap(({ family, type: written }, number): readonly PortMatch[] => {
      const type = parseIcmpType(family, written);
      if (type === undefined) return [];
      const origin = context.originOf(`${at}/icmps/${index}/fields/${number}`);
      return [{ origin, match: "icmp", family: family === "IPv4" ? 4 : 6, type }];
    }),
  );
  return [...ports, ...types];
}

function readPort(
  { port, endPort = 0, protocol = "ANY" }: PortItem,
  dns: DnsRules,
  origin: PortMatch["origin"],
): readonly PortMatch[] {
  const number = portlessProtocols[protocol];
  if (number !== undefined) return [{ origin, match: "ip-protocol", number }];
  const read = parsePort(port);
  const protocols = allProtocols.filter((each) => protocol === "ANY" || protocol === each);
  return protocols.flatMap((each): readonly PortMatch[] => {
    switch (read.is) {
      case "any":
        // Cilium's engine takes 0 for the first port of a range where there is a last one.
        return [{ origin, match: "ports", protocol: each, from: 0, to: endPort === 0 ? 65535 : endPort, dns }];
      case "number":
        return [{ origin, match: "ports", protocol: each, from: read.number, to: Math.max(read.number, endPort), dns }];
      case "name":
        return [
          { origin, match: "named-port", protocol: each, name: read.name, ...(endPort > 0 && { to: endPort }), dns },
        ];
      case "wrong":
        return [];
    }
  });
}
