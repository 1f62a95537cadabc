import type { Origin } from "@bpfleet/base";
import type { Prefix } from "../../filter/intent.ts";
import type { Entity, NamePattern, Peer, PolicyRule, Requirement } from "../policy.ts";
import type { Chance } from "./random.ts";
import type { Writer } from "./random-rule.ts";
import { addressesOf } from "./random-world.ts";
import { bitsOf, bitsOfBytes } from "./reference-addresses.ts";
import { words } from "./words.ts";
import type { World } from "./world.ts";

/** Those that somebody may be. */
const usualEntities = [
  "all",
  "world",
  "world-ipv4",
  "world-ipv6",
  "cluster",
  "host",
  "host",
  "remote-node",
  "remote-node",
  "world-ipv6",
  "world-ipv4",
] as const;
const emptyEntities = ["none", "init", "health", "ingress", "unmanaged", "cluster-mesh"] as const;
const operators = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

/** Of objects of Kubernetes' own form an empty list is anybody: none is written. */
export function randomPeers(chance: Chance, writer: Writer, origin: Origin, anyPercent: number): PolicyRule["peers"] {
  const { ref, side, list, world } = writer;
  switch (ref.kind) {
    case "PodConfigMapConfig":
      return "any";
    case "EBPFContainerPolicy":
      return chance.is(2 * anyPercent) ? "any" : [addressPeer(chance, world, origin, "everything")];
    case "EBPFNetworkPolicy":
    case "NetworkPolicy":
      return chance.is(anyPercent) ? "any" : chance.list(1, 2, () => plainPeer(chance, writer, origin));
    default: {
      if (chance.is(anyPercent)) return "any";
      if (chance.is(4)) return [];
      const isOfNames = side === "egress" && list === "allow" && chance.is(40);
      return chance.list(1, list === "deny" ? 1 : 3, () =>
        isOfNames && chance.is(60)
          ? { origin, peer: "name" as const, name: randomName(chance) }
          : ciliumPeer(chance, writer, origin),
      );
    }
  }
}

export function randomName(chance: Chance): NamePattern {
  return chance.is(50)
    ? { is: "name", text: chance.of(words.names) }
    : { is: "pattern", text: chance.of(words.patterns) };
}

export function inNamespace(namespace: string): Requirement {
  return { on: "namespace-name", key: "", operator: "In", values: [namespace] };
}

type Source = Pick<Requirement, "on" | "key"> & { readonly values: readonly string[] };

const labels: readonly Source[] = [
  { on: "pod", key: "app", values: words.apps },
  { on: "pod", key: "tier", values: words.tiers },
];
const namespaceLabels: readonly Source[] = [
  { on: "namespace-label", key: "env", values: words.environments },
  { on: "namespace-label", key: "env", values: words.environments },
  { on: "namespace-label", key: "kubernetes.io/metadata.name", values: words.namespaces },
];
const ciliumLabels: readonly Source[] = [
  { on: "service-account", key: "", values: words.serviceAccounts },
  { on: "cluster", key: "", values: ["default", "other"] },
  { on: "reserved", key: "init", values: [""] },
];
const namespaceNames: Source = { on: "namespace-name", key: "", values: words.namespaces };
const serviceSources: readonly Source[] = [{ on: "service", key: "app", values: words.apps }];
const nodeSources: readonly Source[] = [
  { on: "node", key: "zone", values: words.zones },
  { on: "node", key: "tier", values: words.tiers },
  { on: "cluster", key: "", values: ["default", "other"] },
];

/** What selectors of a kind can ask for; whom an object of a namespace is about is there, whatever else it says. */
export function sourcesOf(kind: string, of: "subject" | "peer"): readonly Source[] {
  switch (kind) {
    case "NetworkPolicy":
    case "PodConfigMapConfig":
      return labels;
    case "EBPFNetworkPolicy":
    case "EBPFContainerPolicy":
      return [...labels, ...namespaceLabels];
    default: {
      const hasNames = of === "peer" || kind === "CiliumClusterwideNetworkPolicy";
      return [...labels, ...namespaceLabels, ...ciliumLabels, ...(hasNames ? [namespaceNames] : [])];
    }
  }
}

export function randomWhere(chance: Chance, sources: readonly Source[], least = 0): readonly Requirement[] {
  return chance.list(least, 2, (): Requirement => {
    const { on, key, values } = chance.of(sources);
    const lacks = on === "namespace-label" && key === "env" && chance.is(60);
    const operator = lacks
      ? chance.of(["NotIn", "DoesNotExist"] as const)
      : chance.is(40)
        ? "In"
        : chance.of(operators);
    const hasValues = operator === "In" || operator === "NotIn";
    return { on, key, operator, values: hasValues ? [chance.of(values), ...chance.some(values, 20)] : [] };
  });
}

/** Pods of the object's namespace where it asks for none, or addresses of whoever has them. */
function plainPeer(chance: Chance, { ref, world }: Writer, origin: Origin): Peer {
  if (chance.is(40)) return addressPeer(chance, world, origin, "everything");
  const inNamespaces = chance.is(40) ? [inNamespace(ref.namespace)] : randomWhere(chance, namespaceLabels);
  return { origin, peer: "pods", where: [...inNamespaces, ...randomWhere(chance, labels)] };
}

function ciliumPeer(chance: Chance, { ref, side, world }: Writer, origin: Origin): Peer {
  const choice = chance.below(100);
  if (choice < 30)
    return { origin, peer: "pods", where: scoped(randomWhere(chance, sourcesOf(ref.kind, "peer")), ref.namespace) };
  if (choice < 36) return { origin, peer: "nodes", where: randomWhere(chance, nodeSources) };
  if (choice < 62) {
    const entity: Entity = chance.is(90) ? chance.of(usualEntities) : chance.of(emptyEntities);
    return { origin, peer: "entity", entity };
  }
  if (choice < (side === "egress" ? 88 : 70)) return servicePeer(chance, world, side, origin);
  return addressPeer(chance, world, origin, "world");
}

/** Pods of the object's namespace, where the selector speaks of no other. */
function scoped(where: readonly Requirement[], namespace: string): readonly Requirement[] {
  const others = ["namespace-name", "namespace-label", "reserved"];
  return namespace === "" || where.some(({ on }) => others.includes(on)) ? where : [inNamespace(namespace), ...where];
}

function addressPeer(chance: Chance, world: World, origin: Origin, matches: "world" | "everything"): Peer {
  const prefix = randomPrefix(chance, world, 0);
  const except = chance
    .list(chance.is(40) ? 0 : 1, 3, () => randomPrefix(chance, world, prefix.length))
    .filter((each) => isWithin(each, prefix) && (matches === "world" || each.length > prefix.length));
  return { origin, peer: "addresses", prefix, except, matches };
}

/** Only what is sent can be for a Service. */
function servicePeer(chance: Chance, { services = [] }: World, side: Writer["side"], origin: Origin): Peer {
  if (side === "ingress") return { origin, peer: "entity", entity: "kube-apiserver" };
  if (chance.is(55) || services.length === 0) {
    const namespace = chance.is(70) ? undefined : chance.of(words.namespaces);
    return { origin, peer: "services", namespace, where: randomWhere(chance, serviceSources, chance.is(40) ? 0 : 1) };
  }
  const { namespace, name } = chance.of(services);
  return chance.is(40)
    ? { origin, peer: "entity", entity: "kube-apiserver" }
    : { origin, peer: "service", namespace, name };
}

function randomPrefix(chance: Chance, world: World, least: number): Prefix {
  const bits = bitsOf(chance.of(addressesOf(world)));
  const lengths = bits.length === 32 ? [0, 1, 8, 12, 24, 28, 31, 32] : [0, 3, 16, 32, 48, 112, 124, 127, 128];
  const length = chance.of(lengths.filter((each) => each >= Math.min(least, bits.length)));
  const kept = bits.slice(0, length).padEnd(bits.length, "0");
  const bytes = Uint8Array.from({ length: bits.length / 8 }, (_, at) =>
    Number.parseInt(kept.slice(at * 8, at * 8 + 8), 2),
  );
  return { family: bits.length === 32 ? 4 : 6, bytes, length };
}

function isWithin(part: Prefix, whole: Prefix): boolean {
  const start = bitsOfBytes(whole.bytes).slice(0, whole.length);
  return part.family === whole.family && part.length >= whole.length && bitsOfBytes(part.bytes).startsWith(start);
}
