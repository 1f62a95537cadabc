import type { NodeFacts } from "@bpfleet/kernel";
import type { HostIntent, ServiceIntent, WorkloadIntent } from "../intent.ts";
import { isOfOneLink, parseAddressKey, type AddressKey } from "./address-key.ts";
import { LabelIndex, type AskedKeys } from "./label-index.ts";
import { portName, portWithNumber } from "./peers.ts";

/** What somebody who has an address is; equal ones are one. */
export interface Holder {
  readonly is: "world4" | "world6" | "pod" | "this-node" | "node" | "several";
  /** Of a pod: its ports whose names somebody asks for, `TCP/http=8080`. */
  readonly ports: readonly string[];
  /** Several who claim one address. */
  readonly claimants: readonly number[];
}

export const world4 = 0;
export const world6 = 1;

/** Everybody there is, and who has which address; all other addresses are the world's. */
export interface Population {
  readonly holders: readonly Holder[];
  readonly addresses: ReadonlyMap<AddressKey, number>;
  readonly pods: LabelIndex;
  readonly nodes: LabelIndex;
  /** Number of a pod or node in its index → holder. */
  readonly podHolders: readonly number[];
  readonly nodeHolders: readonly number[];
}

export interface Inhabitants {
  readonly workloads: readonly WorkloadIntent[];
  readonly hosts: readonly HostIntent[];
  readonly services: readonly ServiceIntent[];
}

/** `askedPorts`: names of ports by which peers are told apart, `TCP/http`. */
export function findPopulation(
  { workloads, hosts }: Inhabitants,
  facts: Pick<NodeFacts, "endpoints" | "interfaces" | "nodeName">,
  asked: AskedKeys,
  askedPorts: ReadonlySet<string>,
): Population {
  const holders: Holder[] = [plain("world4"), plain("world6")];
  const claims = new Claims();
  const pods = new LabelIndex(asked);
  const podHolders: number[] = [];
  for (const workload of workloads) {
    if (workload.isHostNetwork) continue;
    const ports = askedPorts.size === 0 ? [] : askedPortsOf(workload, askedPorts);
    const number = pods.add(labelledPod(workload), ports.join());
    if (podHolders[number] === undefined) {
      podHolders[number] = holders.length;
      holders.push({ is: "pod", ports, claimants: [] });
    }
    const holder = podHolders[number] ?? world4;
    for (const address of workload.addresses) claims.add(address, holder);
    const endpoint = workload.endpoint === undefined ? undefined : facts.endpoints?.[workload.endpoint];
    if (endpoint?.found) for (const address of endpoint.addresses) claims.add(address, holder);
  }
  const nodes = new LabelIndex(asked);
  const nodeHolders: number[] = [];
  const isThisNodeKnown = hosts.some(({ isThisNode }) => isThisNode);
  const others = isThisNodeKnown ? hosts : [...hosts, thisNode(facts.nodeName)];
  for (const host of others) {
    const number = nodes.add({ own: "node", labels: host.labels }, host.isThisNode ? "this" : "");
    if (nodeHolders[number] === undefined) {
      nodeHolders[number] = holders.length;
      holders.push(plain(host.isThisNode ? "this-node" : "node"));
    }
    const holder = nodeHolders[number] ?? world4;
    for (const address of host.addresses) claims.add(address, holder);
    if (!host.isThisNode) continue;
    for (const { addresses } of facts.interfaces) for (const address of addresses) claims.add(address, holder);
  }
  const addresses = claims.settle(holders);
  return { holders, addresses, pods, nodes, podHolders, nodeHolders };
}

/** Before anything is known of it but what the facts say. */
function thisNode(name: string): HostIntent {
  const object = { group: "", kind: "Node", namespace: "", name };
  const origin = { object, path: "" };
  return { feature: "policy", about: "host", origin, name, labels: {}, addresses: [], isThisNode: true };
}

function plain(is: Holder["is"]): Holder {
  return { is, ports: [], claimants: [] };
}

export function labelledPod({
  labels,
  pod,
  namespaceLabels,
  serviceAccount,
}: WorkloadIntent): Parameters<LabelIndex["add"]>[0] {
  return { own: "pod", labels, namespace: pod.namespace, namespaceLabels, serviceAccount };
}

function askedPortsOf({ namedPorts }: WorkloadIntent, asked: ReadonlySet<string>): string[] {
  return namedPorts
    .filter(({ protocol, name }) => asked.has(portName(protocol, name)))
    .map(({ protocol, name, port }) => portWithNumber(protocol, name, port))
    .toSorted();
}

/** Who claims which address. */
class Claims {
  readonly #holders = new Map<AddressKey, number>();
  /** Of addresses with more than one. */
  readonly #several = new Map<AddressKey, Set<number>>();

  add(address: string, holder: number): void {
    const key = parseAddressKey(address);
    if (key === undefined || isOfOneLink(key)) return;
    const first = this.#holders.get(key);
    if (first === undefined) this.#holders.set(key, holder);
    else if (first !== holder) {
      const all = this.#several.get(key) ?? new Set([first]);
      this.#several.set(key, all.add(holder));
    }
  }

  /** Adds a holder for each combination of claimants. */
  settle(holders: Holder[]): ReadonlyMap<AddressKey, number> {
    const combinations = new Map<string, number>();
    for (const [key, all] of this.#several) {
      const claimants = [...all].toSorted((a, b) => a - b);
      const name = claimants.join();
      let holder = combinations.get(name);
      if (holder === undefined) {
        combinations.set(name, (holder = holders.length));
        holders.push({ is: "several", ports: [], claimants });
      }
      this.#holders.set(key, holder);
    }
    return this.#holders;
  }
}
