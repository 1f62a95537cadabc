import type { NodeFacts } from "@bpfleet/kernel";
import type { AddressesIntent, HostIntent, WorkloadIntent } from "../intent.ts";
import { isOfOneLink, parseAddressKey, type AddressKey } from "./address-key.ts";
import { LabelIndex, type AskedKeys } from "./label-index.ts";
import { lowerBound } from "./lower-bound.ts";
import { portName, portWithNumber } from "./peers.ts";

/** What somebody who has an address is; equal ones are one. */
export interface Holder {
  readonly is: "world4" | "world6" | "link6" | "pod" | "this-node" | "node" | "several";
  /** Of a pod: its ports whose names somebody asks for, `TCP/http=8080`. */
  readonly ports: readonly string[];
  /** Several who claim one address. */
  readonly claimants: readonly number[];
}

export const world4 = 0;
export const world6 = 1;
/** Whoever is on the link: a pod, a node or somebody else. */
export const link6 = 2;

/** Everybody there is, and who has which address; all others are the world's, but for those of a link. */
export interface Population {
  readonly holders: readonly Holder[];
  readonly addresses: AddressBook;
  readonly pods: LabelIndex;
  readonly nodes: LabelIndex;
  /** Number of a pod or node in its index → holder. */
  readonly podHolders: readonly number[];
  readonly nodeHolders: readonly number[];
}

export interface Inhabitants {
  readonly workloads: readonly WorkloadIntent[];
  readonly addresses: readonly AddressesIntent[];
  readonly hosts: readonly HostIntent[];
}

type PopulationFacts = Pick<NodeFacts, "endpoints" | "interfaces" | "nodeName">;

/** `askedPorts`: names of ports by which peers are told apart, `TCP/http`. */
export function findPopulation(
  { workloads, addresses, hosts }: Inhabitants,
  facts: PopulationFacts,
  asked: AskedKeys,
  askedPorts: ReadonlySet<string>,
): Population {
  const census = new Census(asked, askedPorts);
  for (const workload of workloads) if (!workload.isHostNetwork) census.addWorkload(workload, facts);
  for (const slice of addresses.toSorted((a, b) => compareVersions(b.version, a.version))) census.addAddresses(slice);
  for (const node of mergeHosts(hosts, facts)) census.addNode(node, facts);
  return census.settle();
}

/** Highest last. */
function compareVersions(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

interface Node {
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
  readonly isThisNode: boolean;
}

/** This node is one, before anything is known of it but what the facts say. */
function mergeHosts(hosts: readonly HostIntent[], { nodeName }: PopulationFacts): readonly Node[] {
  const byName = Map.groupBy(hosts, ({ name }) => name);
  const merged = [...byName.values()].map((all): Node => {
    const own = all.find(({ isThisNode }) => isThisNode);
    return {
      labels: own?.labels ?? Object.assign({}, ...all.map(({ labels }) => labels)),
      addresses: all.flatMap((host) => host.addresses),
      isThisNode: own !== undefined,
    };
  });
  const isKnown = merged.some(({ isThisNode }) => isThisNode);
  if (isKnown) return merged;
  const namesake = byName.get(nodeName);
  const others = namesake === undefined ? merged : merged.filter((_, at) => [...byName.keys()][at] !== nodeName);
  const addresses = (namesake ?? []).flatMap((host) => host.addresses);
  return [...others, { labels: namesake?.[0]?.labels ?? {}, addresses, isThisNode: true }];
}

/** Addresses of slices are read once: the same object comes again with the next compilation. */
const readAddresses = new WeakMap<AddressesIntent, readonly AddressKey[]>();

function keysOf(slice: AddressesIntent): readonly AddressKey[] {
  let keys = readAddresses.get(slice);
  if (keys === undefined) {
    keys = slice.addresses.flatMap((text) => {
      const key = parseAddressKey(text);
      return key === undefined || isOfOneLink(key) ? [] : [key];
    });
    readAddresses.set(slice, keys);
  }
  return keys;
}

class Census {
  readonly #holders: Holder[] = [plain("world4"), plain("world6"), plain("link6")];
  readonly #addresses = new AddressBook();
  readonly #pods: LabelIndex;
  readonly #nodes: LabelIndex;
  readonly #podHolders: number[] = [];
  readonly #nodeHolders: number[] = [];
  readonly #askedPorts: ReadonlySet<string>;

  constructor(asked: AskedKeys, askedPorts: ReadonlySet<string>) {
    this.#pods = new LabelIndex(asked);
    this.#nodes = new LabelIndex(asked);
    this.#askedPorts = askedPorts;
  }

  addWorkload(workload: WorkloadIntent, { endpoints }: PopulationFacts): void {
    const holder = this.#podHolder(labelledPod(workload), workload.namedPorts);
    const endpoint = workload.endpoint === undefined ? undefined : endpoints?.[workload.endpoint];
    const source = this.#addresses.source(holder);
    for (const texts of [workload.addresses, endpoint?.found ? endpoint.addresses : []])
      for (const text of texts) this.#addresses.addText(text, source);
  }

  /** Newer slices come first. */
  addAddresses(slice: AddressesIntent): void {
    const { labels, namespace, namespaceLabels, isNamespaceUnknown, serviceAccount, version } = slice;
    const holder = this.#podHolder(
      { own: "pod", labels, namespace, namespaceLabels, isNamespaceUnknown, serviceAccount },
      slice.namedPorts,
    );
    const source = this.#addresses.source(holder, version);
    for (const key of keysOf(slice)) this.#addresses.addOfSlice(key, source);
  }

  #podHolder(pod: Parameters<LabelIndex["add"]>[0], namedPorts: WorkloadIntent["namedPorts"]): number {
    const ports = this.#askedPorts.size === 0 ? [] : this.#portsOf(namedPorts);
    return this.#holderOf(this.#podHolders, this.#pods.add(pod, ports.join()), { is: "pod", ports, claimants: [] });
  }

  addNode({ labels, addresses, isThisNode }: Node, { interfaces }: PopulationFacts): void {
    const number = this.#nodes.add({ own: "node", labels }, isThisNode ? "this" : "");
    const holder = this.#holderOf(this.#nodeHolders, number, plain(isThisNode ? "this-node" : "node"));
    const source = this.#addresses.source(holder);
    for (const text of addresses) this.#addresses.addText(text, source);
    if (!isThisNode) return;
    for (const each of interfaces) for (const text of each.addresses) this.#addresses.addText(text, source);
  }

  #holderOf(known: number[], number: number, fresh: Holder): number {
    if (known[number] === undefined) {
      known[number] = this.#holders.length;
      this.#holders.push(fresh);
    }
    return known[number] ?? world4;
  }

  #portsOf(namedPorts: WorkloadIntent["namedPorts"]): string[] {
    return namedPorts
      .filter(({ protocol, name }) => this.#askedPorts.has(portName(protocol, name)))
      .map(({ protocol, name, port }) => portWithNumber(protocol, name, port))
      .toSorted();
  }

  settle(): Population {
    this.#addresses.settle(this.#holders);
    return {
      addresses: this.#addresses,
      holders: this.#holders,
      pods: this.#pods,
      nodes: this.#nodes,
      podHolders: this.#podHolders,
      nodeHolders: this.#nodeHolders,
    };
  }
}

function plain(is: Holder["is"]): Holder {
  return { is, ports: [], claimants: [] };
}

export function labelledPod({
  labels,
  pod,
  namespaceLabels,
  isNamespaceUnknown,
  serviceAccount,
}: WorkloadIntent): Parameters<LabelIndex["add"]>[0] {
  return { own: "pod", labels, namespace: pod.namespace, namespaceLabels, isNamespaceUnknown, serviceAccount };
}

interface Source {
  readonly holder: number;
  /** Of a slice. */
  readonly version: string | undefined;
}

/** Who has which address. Written, then settled, then read. */
export class AddressBook {
  readonly #sources: Source[] = [];
  readonly #claims = new Map<AddressKey, number>();
  /** Holders of addresses with more than one. */
  readonly #several = new Map<AddressKey, Set<number>>();
  #keys: readonly AddressKey[] = [];
  #holders = new Uint32Array(0);

  /** Somebody who claims addresses. */
  source(holder: number, version?: string): number {
    return this.#sources.push({ holder, version }) - 1;
  }

  addText(text: string, source: number): void {
    const key = parseAddressKey(text);
    if (key === undefined || isOfOneLink(key)) return;
    const first = this.#claims.get(key);
    if (first === undefined) this.#claims.set(key, source);
    else this.#share(key, first, source);
  }

  /** What others than slices claim is theirs; what slices claim is the newest one's, which come first. */
  addOfSlice(key: AddressKey, source: number): void {
    const first = this.#claims.get(key);
    if (first === undefined) this.#claims.set(key, source);
    else if (this.#sources[first]?.version === this.#sources[source]?.version) this.#share(key, first, source);
  }

  #share(key: AddressKey, ...sources: readonly number[]): void {
    const holders = sources.map((source) => this.#sources[source]?.holder ?? 0);
    const all = this.#several.get(key) ?? new Set<number>();
    for (const holder of holders) all.add(holder);
    if (all.size > 1) this.#several.set(key, all);
  }

  /** Adds a holder for each combination of those who share an address. What was only needed to find it out goes. */
  settle(holders: Holder[]): void {
    const combinations = new Map<string, number>();
    for (const [key, all] of this.#several) {
      const claimants = [...all].toSorted((a, b) => a - b);
      const name = claimants.join();
      let source = combinations.get(name);
      if (source === undefined) {
        combinations.set(name, (source = this.source(holders.length)));
        holders.push({ is: "several", ports: [], claimants });
      }
      this.#claims.set(key, source);
    }
    this.#keys = [...this.#claims.keys()].toSorted();
    this.#holders = Uint32Array.from(this.#keys, (key) => this.#sources[this.#claims.get(key) ?? 0]?.holder ?? 0);
    this.#claims.clear();
    this.#several.clear();
    this.#sources.length = 0;
  }

  /** Ascending. */
  get keys(): readonly AddressKey[] {
    return this.#keys;
  }

  /** Of the key that stands there. */
  holderAt(at: number): number {
    return this.#holders[at] ?? 0;
  }

  /** The holder; `undefined`: nobody who is known. */
  get(key: AddressKey): number | undefined {
    const at = lowerBound(this.#keys, key);
    return this.#keys[at] === key ? this.#holders[at] : undefined;
  }
}
