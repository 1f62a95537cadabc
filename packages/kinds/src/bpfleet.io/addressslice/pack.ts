import { canonicalJson, compareText } from "@bpfleet/base";
import { maxSliceAddresses } from "./schema.ts";
import type { AddressLabelSet, AddressSlice, AddressSliceSpec } from "./schema.ts";

/** One address, and what it is. */
export interface KnownAddress {
  readonly of: AddressSliceSpec["of"];
  /** Of pods. */
  readonly namespace?: string | undefined;
  readonly ip: string;
  readonly name?: string | undefined;
  readonly node: string;
  /** Shared by all addresses that say the same, where they come from slices. */
  readonly set: AddressLabelSet;
}

export interface SliceChanges {
  /** To be created, or to replace the slice of the same name. */
  readonly write: readonly AddressSlice[];
  /** Names of slices that nothing is left in. These go last: what was in them is in others by then. */
  readonly remove: readonly string[];
}

/**
 * How many addresses one slice is filled with. Every change of a slice is sent whole to every node:
 * small slices make changes cheap, large ones lists.
 */
export const sliceTarget = 100;

/** A slice is full before its labels make it larger than this, in JSON. */
const maxSliceBytes = 256 * 1024;

interface Bin {
  readonly name: string;
  readonly before: AddressSlice | undefined;
  readonly held: KnownAddress[];
  readonly sets: Set<string>;
  bytes: number;
  isChanged: boolean;
}

/**
 * What has to be written so that slices say what is wanted: an address stays in its slice, new ones go to slices that
 * change anyway. Equal arguments, equal changes; once they are written there are none.
 */
export function packAddresses(
  current: readonly AddressSlice[],
  wanted: readonly KnownAddress[],
  target: number = sliceTarget,
): SliceChanges {
  const groups = Map.groupBy(wanted, groupOf);
  const slices = Map.groupBy(current, ({ spec }) => groupOf(spec));
  const names = new Set([...groups.keys(), ...slices.keys()]);
  const changes = [...names]
    .toSorted()
    .map((group) => packGroup(slices.get(group) ?? [], groups.get(group) ?? [], Math.min(target, maxSliceAddresses)));
  return { write: changes.flatMap(({ write }) => write), remove: changes.flatMap(({ remove }) => remove) };
}

function packGroup(current: readonly AddressSlice[], given: readonly KnownAddress[], target: number): SliceChanges {
  // Of two that claim one address the later one counts: the earlier is about to be gone.
  const wanted = new Map(given.map((address) => [address.ip, address]));
  const bins = current.toSorted(byName).map(binOf);
  for (const bin of bins) keepIn(bin, wanted);
  putAll([...wanted.values()].toSorted(byAddress), bins, target);
  const used = bins.filter(({ held }) => held.length > 0);
  if (used.length > 2 * Math.ceil(given.length / target) && used.every(({ bytes }) => bytes < maxSliceBytes / 2))
    merge(bins, target);
  return {
    write: bins.flatMap((bin) => (bin.held.length > 0 && bin.isChanged ? writeBin(bin) : [])),
    remove: bins.flatMap(({ before, name, held }) => (before !== undefined && held.length === 0 ? [name] : [])),
  };
}

function binOf(slice: AddressSlice): Bin {
  return { name: slice.metadata.name, before: slice, held: [], sets: new Set(), bytes: 0, isChanged: false };
}

/** Moves what is wanted and was in the slice from `wanted` into its bin. */
function keepIn(bin: Bin, wanted: Map<string, KnownAddress>): void {
  const { addresses = [], nodes = [], labelSets = [] } = bin.before?.spec ?? {};
  for (const { ip, name, node, set } of addresses) {
    const address = wanted.get(ip);
    if (address === undefined) continue;
    wanted.delete(ip);
    add(bin, address);
    const known = labelSets[set];
    const isSame = address.name === name && address.node === nodes[node];
    if (!isSame || known === undefined || setName(known) !== setName(address.set)) bin.isChanged = true;
  }
  if (bin.held.length < addresses.length || bin.held.length === 0) bin.isChanged = true;
}

/** Into slices that are written anyway, then into others with room, then into new ones. */
function putAll(addresses: readonly KnownAddress[], bins: Bin[], target: number, among: readonly Bin[] = bins): void {
  const used = among.filter(({ held }) => held.length > 0);
  const open = [
    ...used.filter(({ isChanged }) => isChanged),
    ...used.filter(({ isChanged }) => !isChanged),
    ...among.filter(({ held }) => held.length === 0),
  ];
  const newBin = binMaker(bins);
  let at = 0;
  for (const address of addresses) {
    let bin = open[at];
    while (bin !== undefined && !hasRoom(bin, address, target)) bin = open[++at];
    if (bin === undefined) open.push((bin = newBin(address)));
    add(bin, address);
    bin.isChanged = true;
  }
}

function hasRoom(bin: Bin, address: KnownAddress, target: number): boolean {
  if (bin.held.length === 0) return true;
  return bin.held.length < target && bin.bytes + sizeIn(bin, address) <= maxSliceBytes;
}

function add(bin: Bin, address: KnownAddress): void {
  bin.bytes += sizeIn(bin, address);
  bin.held.push(address);
  bin.sets.add(setName(address.set));
}

/**
 * Many deletions leave slices nearly empty: what is in the emptiest moves to the others, which lose nothing, so that some
 * slice has each address at any time.
 */
function merge(bins: Bin[], target: number): void {
  const used = bins.filter(({ held }) => held.length > 0).toSorted((a, b) => b.held.length - a.held.length);
  const kept = Math.ceil(used.reduce((sum, { held }) => sum + held.length, 0) / target);
  const moved = used.slice(kept).flatMap(({ held }) => held.splice(0));
  putAll(moved.toSorted(byAddress), bins, target, used.slice(0, kept));
}

/** New bins, with names that are free. */
function binMaker(bins: Bin[]): (address: KnownAddress) => Bin {
  const taken = new Set(bins.map(({ name }) => name));
  let at = 0;
  return ({ of, namespace = "" }) => {
    const stem = of === "Node" ? "nodes" : `pods-${namespace}`;
    while (taken.has(`${stem}-${at}`)) at++;
    const name = `${stem}-${at++}`;
    const bin: Bin = { name, before: undefined, held: [], sets: new Set(), bytes: 0, isChanged: true };
    bins.push(bin);
    return bin;
  };
}

function writeBin({ name, before, held }: Bin): readonly AddressSlice[] {
  const spec = specOf(held);
  const labels = spec.namespace === undefined ? {} : { labels: { "bpfleet.io/namespace": spec.namespace } };
  if (before !== undefined && canonicalJson(before.spec) === canonicalJson(spec)) return [];
  return [{ apiVersion: "bpfleet.io/v1alpha1", kind: "AddressSlice", metadata: { name, ...labels }, spec }];
}

function specOf(held: readonly KnownAddress[]): AddressSliceSpec {
  const [first] = held;
  const sets = new Map(held.map(({ set }) => [setName(set), set]));
  const names = [...sets.keys()].toSorted();
  const nodes = [...new Set(held.map(({ node }) => node))].toSorted();
  const setPlaces = new Map(names.map((name, at) => [name, at]));
  const nodePlaces = new Map(nodes.map((name, at) => [name, at]));
  return {
    of: first?.of ?? "Pod",
    ...(first?.namespace !== undefined && { namespace: first.namespace }),
    nodes,
    labelSets: names.flatMap((name) => sets.get(name) ?? []),
    addresses: held.toSorted(byAddress).map(({ ip, name, node, set }) => ({
      ip,
      ...(name !== undefined && { name }),
      set: setPlaces.get(setName(set)) ?? 0,
      node: nodePlaces.get(node) ?? 0,
    })),
  };
}

/** What all slices say, by address. Of two slices that name an address the one that was written last counts. */
export function readAddresses(slices: Iterable<AddressSlice>): ReadonlyMap<string, KnownAddress> {
  const known = new Map<string, KnownAddress>();
  for (const { spec } of [...slices].toSorted(byVersion)) {
    const { of, namespace, nodes, labelSets, addresses } = spec;
    for (const { ip, name, set, node } of addresses) {
      const labelSet = labelSets[set];
      const nodeName = nodes[node];
      if (labelSet === undefined || nodeName === undefined) continue;
      known.set(ip, {
        of,
        ip,
        node: nodeName,
        set: labelSet,
        ...(namespace !== undefined && { namespace }),
        ...(name !== undefined && { name }),
      });
    }
  }
  return known;
}

function groupOf({ of, namespace }: Pick<KnownAddress, "of" | "namespace">): string {
  return of === "Node" ? "nodes" : `pods ${namespace ?? ""}`;
}

function byName(a: AddressSlice, b: AddressSlice): number {
  return compareText(a.metadata.name, b.metadata.name);
}

/** Versions are numbers that grow; what has none was never written. */
function byVersion(a: AddressSlice, b: AddressSlice): number {
  const [first, second] = [a, b].map(({ metadata }) => metadata.resourceVersion ?? "");
  return (first ?? "").length - (second ?? "").length || compareText(first ?? "", second ?? "") || byName(a, b);
}

function byAddress(a: Pick<KnownAddress, "ip">, b: Pick<KnownAddress, "ip">): number {
  return compareText(a.ip, b.ip);
}

/** What an address adds to a slice, in JSON: at least that, and not much more. */
function sizeIn({ sets }: Bin, { ip, node, name = "", set }: KnownAddress): number {
  const known = setName(set);
  return ip.length + node.length + name.length + 48 + (sets.has(known) ? 0 : known.length);
}

const setNames = new WeakMap<AddressLabelSet, string>();

/** Equal sets, equal names. */
function setName(set: AddressLabelSet): string {
  const known = setNames.get(set);
  if (known !== undefined) return known;
  const name = canonicalJson(set);
  setNames.set(set, name);
  return name;
}
