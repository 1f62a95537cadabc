import type { Origin } from "@bpfleet/base";
import type { Peer, PortMatch, Prefix } from "@bpfleet/features";
import { parsePrefix } from "../../address/prefix.ts";

interface IpBlock {
  readonly cidr: string;
  readonly except?: readonly string[] | undefined;
}

/** As in a NetworkPolicy: addresses are those of whoever has them. */
export function readIpBlock({ cidr, except = [] }: IpBlock, origin: Origin): readonly Peer[] {
  const prefix = prefixOf(cidr);
  if (prefix === undefined) return [];
  return [
    {
      origin,
      peer: "addresses",
      prefix,
      except: except.flatMap((text) => prefixOf(text) ?? []),
      matches: "everything",
    },
  ];
}

function prefixOf(text: string): Prefix | undefined {
  const read = parsePrefix(text);
  return read.ok ? read.prefix : undefined;
}

interface RulePorts {
  readonly protocol: "TCP" | "UDP";
  readonly port?: number | undefined;
  readonly endPort?: number | undefined;
}

/** Every port where none is said. */
export function readPorts({ protocol, port, endPort }: RulePorts, origin: Origin): PortMatch {
  const [from, to] = port === undefined ? [0, 65535] : [port, endPort ?? port];
  return { origin, match: "ports", protocol, from, to, dns: undefined };
}
