import type { EndpointFacts } from "@bpfleet/kernel";
import type { Address, Link } from "@bpfleet/netlink";

/** A network namespace and what of the node's leads into it. */
export interface SeenNamespace {
  /** `network namespace web`, `the network namespace of process 17`. */
  readonly what: string;
  /** Interfaces of the node whose other end is in it. */
  readonly hostLinks: readonly Link[];
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** Names of interfaces inside over which a default route leads; asked for where there are several. */
  readonly defaultRoutes: ReadonlySet<string>;
}

/** Kinds that have an end in two namespaces: what leaves one end comes in at the other. */
const pairKinds: ReadonlySet<string> = new Set(["veth", "netkit"]);
/** Those of the kernel that are in every network namespace once their module is loaded are down. */
const loopback = 772;

/** Interfaces that packets of the pod may use. */
export function usableLinks(links: readonly Link[]): readonly Link[] {
  return links.filter(
    ({ hardwareType, kind, isUp, masterIfindex }) =>
      hardwareType !== loopback && masterIfindex === undefined && (isUp || pairKinds.has(kind)),
  );
}

/** Where the traffic of a pod can be judged: the other end of the interface that has its default route. */
export function judgeEndpoint(seen: SeenNamespace): EndpointFacts {
  const usable = usableLinks(seen.links);
  const addressesOf = ({ ifindex }: Link): readonly string[] =>
    seen.addresses
      .filter((each) => each.ifindex === ifindex && each.scope !== "link" && each.scope !== "host")
      .map(({ address, prefixLength }) => `${address}/${prefixLength}`)
      .toSorted();
  const main =
    usable.find(({ name }) => seen.defaultRoutes.has(name)) ??
    usable.find((link) => addressesOf(link).length > 0) ??
    usable[0];
  if (main === undefined)
    return waiting(`${seen.what} has no interface but its loopback yet; it is found as soon as one comes`);
  const others = usable.filter((link) => link !== main);
  const host = seen.hostLinks.find(
    ({ kind, ifindex, peerIfindex }) =>
      pairKinds.has(kind) && peerIfindex === main.ifindex && main.peerIfindex === ifindex,
  );
  if (host === undefined) return whyNone(seen, main, others);
  return {
    found: true,
    interface: host.name,
    ifindex: host.ifindex,
    addresses: addressesOf(main),
    mac: main.mac,
    ...(others.length > 0 && { note: notJudged(seen, main, others) }),
  };
}

function whyNone(seen: SeenNamespace, main: Link, others: readonly Link[]): EndpointFacts {
  const beside = others.length > 0 ? `; beside it there ${others.length === 1 ? "is" : "are"} ${listed(others)}` : "";
  if (pairKinds.has(main.kind))
    return waiting(
      `the other end of ${main.name} in ${seen.what} is no interface of this node's network namespace${beside}; it is found as soon as it is`,
    );
  const kind = main.kind === "" ? "a device of its own" : `an interface of kind ${main.kind}`;
  return {
    found: false,
    isFinal: true,
    why: `${main.name} in ${seen.what} is ${kind}: what the pod sends comes in at no interface of the node that is the pod's alone, so it cannot be judged there${beside}; have the network plug-in give pods a veth pair (bridge, ptp), or write a policy for the host`,
  };
}

function notJudged({ what }: SeenNamespace, main: Link, others: readonly Link[]): string {
  return `${main.name} in ${what} is judged; what passes ${listed(others)} beside it is not`;
}

function listed(links: readonly Link[]): string {
  return links.map(({ name, kind }) => (kind === "" ? name : `${name} (${kind})`)).join(", ");
}

export function waiting(why: string): EndpointFacts {
  return { found: false, isFinal: false, why };
}
