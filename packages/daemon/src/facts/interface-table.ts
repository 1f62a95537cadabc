import type { InterfaceFacts } from "@bpfleet/kernel";
import type { Address, Link, Route, RouteEvent } from "@bpfleet/netlink";

/** What their ports receive is theirs; those of a VRF stay interfaces of the node. */
const mastersOfPorts = new Set(["bridge", "bond", "team", "openvswitch"]);
/** `ARPHRD_*`. */
const ethernetType = 1;
const loopbackType = 772;
/** PPP, tunnels of IP, GRE, and what has none (WireGuard, tun). */
const rawTypes = new Set([512, 768, 769, 776, 778, 823, 65_534]);

/** Interfaces, their addresses and where default routes lead, kept up to date by events. */
export class InterfaceTable {
  readonly #links = new Map<number, Link>();
  /** ifindex → `10.0.0.1/24`. */
  readonly #addresses = new Map<number, Set<string>>();
  #defaultRoutes: ReadonlySet<number> = new Set();
  #freed = new Set<string>();

  /** `routes` are those of the main table. */
  reset(links: readonly Link[], addresses: readonly Address[], routes: readonly Route[]): void {
    this.#links.clear();
    this.#addresses.clear();
    for (const link of links) this.#links.set(link.ifindex, link);
    for (const address of addresses) this.#addressesOf(address.ifindex).add(renderAddress(address));
    this.resetRoutes(routes);
  }

  resetRoutes(routes: readonly Route[]): void {
    const defaults = routes.filter((route) => route.isDefault && route.type === "unicast");
    this.#defaultRoutes = new Set(
      defaults.flatMap((route) => route.hops.map((hop) => hop.ifindex)).filter((ifindex) => ifindex !== undefined),
    );
  }

  /**
   * `"routes"` when the default routes must be read again: an event does not tell which one it replaced,
   * and the kernel says nothing of those that go with their interface or address.
   */
  apply(event: RouteEvent): "done" | "routes" {
    switch (event.table) {
      case "link": {
        const { link, change } = event;
        if (hasXdp(this.#links.get(link.ifindex)) && !hasXdp(link)) this.#freed.add(link.name);
        if (change === "there") this.#links.set(link.ifindex, link);
        else {
          this.#links.delete(link.ifindex);
          this.#addresses.delete(link.ifindex);
        }
        return change === "there" && link.isUp ? "done" : this.#routesOver(link.ifindex);
      }
      case "address": {
        const { address, change } = event;
        if (change === "there") this.#addressesOf(address.ifindex).add(renderAddress(address));
        else this.#addresses.get(address.ifindex)?.delete(renderAddress(address));
        return change === "there" ? "done" : this.#routesOver(address.ifindex);
      }
      case "route":
        return event.route.isDefault ? "routes" : "done";
      case "filter": {
        const { filter, change } = event;
        const name = this.#links.get(filter.ifindex)?.name;
        if (change === "gone" && name !== undefined) this.#freed.add(name);
        return "done";
      }
      default:
        return "done";
    }
  }

  /** Names of interfaces that lost an XDP program or a filter since the last call. */
  takeFreed(): ReadonlySet<string> {
    const freed = this.#freed;
    this.#freed = new Set();
    return freed;
  }

  #routesOver(ifindex: number): "done" | "routes" {
    return this.#defaultRoutes.has(ifindex) ? "routes" : "done";
  }

  /** By ifindex. */
  list(): InterfaceFacts[] {
    return [...this.#links.values()]
      .toSorted((a, b) => a.ifindex - b.ifindex)
      .map((link) => ({
        name: link.name,
        ifindex: link.ifindex,
        isUp: link.isUp,
        mtu: link.mtu,
        linkKind: link.kind,
        mac: link.mac,
        addresses: [...(this.#addresses.get(link.ifindex) ?? [])].toSorted(),
        hasDefaultRoute: this.#defaultRoutes.has(link.ifindex),
        ...this.#partOf(link),
      }));
  }

  #partOf({ hardwareType, masterIfindex }: Link): Pick<InterfaceFacts, "part"> {
    const master = masterIfindex === undefined ? undefined : this.#links.get(masterIfindex);
    if (master !== undefined && mastersOfPorts.has(master.kind)) return { part: "port" };
    if (hardwareType === ethernetType) return {};
    if (hardwareType === loopbackType) return { part: "loopback" };
    return { part: rawTypes.has(hardwareType) ? "raw" : "foreign" };
  }

  #addressesOf(ifindex: number): Set<string> {
    let addresses = this.#addresses.get(ifindex);
    if (addresses === undefined) this.#addresses.set(ifindex, (addresses = new Set()));
    return addresses;
  }
}

export function hasXdp(link: Link | undefined): boolean {
  return (link?.xdp?.programIds.length ?? 0) > 0;
}

function renderAddress({ address, prefixLength }: Address): string {
  return `${address}/${prefixLength}`;
}

/** Names of interfaces that came, went or are different: what hooks on them must be looked at again for. */
export function changedNames(before: readonly InterfaceFacts[], after: readonly InterfaceFacts[]): Set<string> {
  const earlier = new Map(before.map((each) => [each.name, JSON.stringify(each)]));
  const changed = new Set<string>();
  for (const each of after) {
    if (earlier.get(each.name) !== JSON.stringify(each)) changed.add(each.name);
    earlier.delete(each.name);
  }
  for (const name of earlier.keys()) changed.add(name);
  return changed;
}
