import type { ObjectRef, Origin } from "@bpfleet/base";
import type { Prefix } from "../../filter/intent.ts";
import type {
  Entity,
  NamePattern,
  Peer,
  Policy,
  PolicyDirection,
  PolicyRule,
  PolicyStatement,
  PortMatch,
  Requirement,
} from "../policy.ts";
import type { Chance } from "./random.ts";
import { addressesOf } from "./random-world.ts";
import { words } from "./words.ts";
import { bitsOf, bitsOfBytes } from "./reference-addresses.ts";
import type { OrderedPolicy, OtherTiers, World } from "./world.ts";

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

/** Between one and five policies about the pods and addresses of the world. */
export function randomPolicies(chance: Chance, world: World): readonly Policy[] {
  const count = 1 + chance.below(5);
  return Array.from({ length: count }, (_, at) => randomPolicy(chance, world, `p${at}`));
}

/** Often none of a tier. */
export function randomOthers(chance: Chance, world: World): OtherTiers {
  return {
    fallback: chance.is(70) ? [] : randomOrder(chance, world, "EBPFNetworkPolicy"),
    container: chance.is(70) ? [] : randomOrder(chance, world, "EBPFContainerPolicy"),
    l4: chance.is(75) ? [] : chance.list(1, 2, () => undefined).map((_, at) => randomFirewall(chance, world, `l${at}`)),
  };
}

/** Ports that are blocked, and ports that are let through, of whoever comes. */
function randomFirewall(chance: Chance, world: World, name: string): Policy {
  const ref: ObjectRef = { group: "podconfig.example.com", kind: "PodConfigMapConfig", namespace: "x", name };
  const origin = { object: ref, path: "/spec/ebpfConfig/l4Firewall" };
  const where = chance.is(60) ? [] : randomWhere(chance, podSources);
  const rules = (most: number): readonly PolicyRule[] =>
    chance.list(0, most, () => {
      const ports = chance.list(1, 2, () => randomPort(chance, origin));
      return { ...randomRule(chance, world, origin, "allow"), peers: "any" as const, ports };
    });
  const ingress = { isDefaultDeny: chance.is(40), deny: rules(2), allow: rules(4) };
  const egress = { isDefaultDeny: false, deny: [], allow: [] };
  const statement = { origin, subject: { selects: "pods", where, origin }, ingress, egress, options: {} } as const;
  return { ref, mode: "enforce", onRevoke: "cut", statements: [statement] };
}

/** Statements are single rules, each of many packets: their order tells most. */
export function randomOrder(chance: Chance, world: World, kind: string): readonly OrderedPolicy[] {
  return Array.from({ length: 2 + chance.below(2) }, (_, at) => {
    const ref: ObjectRef = { group: "networking.fos1.io", kind, namespace: "x", name: `f${at}` };
    const where = chance.is(75) ? [] : randomWhere(chance, podSources);
    const nothing: PolicyDirection = { isDefaultDeny: false, allow: [], deny: [] };
    const statements = Array.from({ length: 2 + chance.below(4) }, (__, number): PolicyStatement => {
      const direction = chance.of(["ingress", "egress"] as const);
      const origin = { object: ref, path: `/spec/${direction}/${number}` };
      const list = chance.of(["allow", "deny"] as const);
      const rule = randomRule(chance, world, origin, list);
      const wide = { ...rule, ...(chance.is(50) && { ports: "any" as const }) };
      const isDefaultDeny = kind === "EBPFContainerPolicy" && chance.is(10);
      const rules = { isDefaultDeny, allow: [], deny: [], [list]: [wide] };
      return {
        origin,
        subject: { selects: "pods", where, origin },
        ingress: nothing,
        egress: nothing,
        options: {},
        [direction]: rules,
      };
    });
    return { priority: chance.below(3) * 100, policy: { ref, mode: "enforce", onRevoke: "cut", statements } };
  });
}

function randomPolicy(chance: Chance, world: World, name: string): Policy {
  const ref: ObjectRef = { group: "cilium.io", kind: "CiliumNetworkPolicy", namespace: "x", name };
  const count = chance.is(80) ? 1 : 2;
  return {
    ref,
    mode: chance.is(95) ? "enforce" : "shadow",
    onRevoke: chance.is(80) ? "cut" : "keep",
    statements: Array.from({ length: count }, (_, at) => randomStatement(chance, world, ref, `/specs/${at}`)),
  };
}

function randomStatement(chance: Chance, world: World, object: ObjectRef, path: string): PolicyStatement {
  const direction = (side: "ingress" | "egress"): PolicyDirection => {
    if (chance.is(15)) return { isDefaultDeny: false, allow: [], deny: [] };
    const rules = (list: "allow" | "deny", most: number): readonly PolicyRule[] =>
      chance
        .list(0, most, () => undefined)
        .map((_, at) => {
          const origin = { object, path: `${path}/${side}-${list}/${at}` };
          return randomRule(chance, world, origin, list, side === "egress" && list === "allow");
        });
    return { isDefaultDeny: chance.is(85), allow: rules("allow", 3), deny: rules("deny", 2) };
  };
  return {
    origin: { object, path },
    subject: { selects: "pods", where: chance.is(50) ? [] : randomWhere(chance, podSources), origin: { object, path } },
    ingress: direction("ingress"),
    egress: direction("egress"),
    options: {},
  };
}

function randomRule(
  chance: Chance,
  world: World,
  origin: Origin,
  list: "allow" | "deny",
  hasNames = false,
): PolicyRule {
  // What denies is narrow: else little is left for what allows.
  const isNarrow = list === "deny";
  const anyPercent = isNarrow ? 10 : 20;
  const isOfNames = hasNames && chance.is(40);
  return {
    origin,
    description: undefined,
    peers: chance.is(anyPercent)
      ? "any"
      : chance.is(4)
        ? []
        : chance.list(1, isNarrow ? 1 : 3, () =>
            isOfNames && chance.is(60) ? namePeer(chance, origin) : randomPeer(chance, world, origin),
          ),
    ports: chance.is(anyPercent + 15)
      ? "any"
      : chance.is(4)
        ? []
        : chance.list(1, isNarrow ? 2 : 4, () =>
            hasNames && !isOfNames && chance.is(50) ? dnsPort(chance, origin) : randomPort(chance, origin),
          ),
    bandwidth: undefined,
    unserved: [],
  };
}

function randomName(chance: Chance): NamePattern {
  return chance.is(50)
    ? { is: "name", text: chance.of(words.names) }
    : { is: "pattern", text: chance.of(words.patterns) };
}

function namePeer(chance: Chance, origin: Origin): Peer {
  return { origin, peer: "name", name: randomName(chance) };
}

function dnsPort(chance: Chance, origin: Origin): PortMatch {
  const dns = chance.list(1, 3, () => randomName(chance));
  return { origin, match: "ports", protocol: chance.is(95) ? "UDP" : "TCP", from: 53, to: 53, dns };
}

type Source = Pick<Requirement, "on" | "key"> & { readonly values: readonly string[] };

const podSources: readonly Source[] = [
  { on: "pod", key: "app", values: words.apps },
  { on: "pod", key: "tier", values: words.tiers },
  { on: "namespace-name", key: "", values: words.namespaces },
  { on: "namespace-label", key: "env", values: words.environments },
  { on: "namespace-label", key: "env", values: words.environments },
  { on: "namespace-label", key: "kubernetes.io/metadata.name", values: words.namespaces },
  { on: "service-account", key: "", values: words.serviceAccounts },
  { on: "cluster", key: "", values: ["default", "other"] },
  { on: "reserved", key: "init", values: [""] },
];
const serviceSources: readonly Source[] = [
  { on: "service", key: "app", values: words.apps },
  { on: "service", key: "app", values: words.apps },
  { on: "namespace-name", key: "", values: words.namespaces },
];
const nodeSources: readonly Source[] = [
  { on: "node", key: "zone", values: words.zones },
  { on: "node", key: "tier", values: words.tiers },
  { on: "cluster", key: "", values: ["default", "other"] },
];

function randomWhere(chance: Chance, sources: readonly Source[], least = 0): readonly Requirement[] {
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

function randomPeer(chance: Chance, world: World, origin: Origin): Peer {
  const choice = chance.below(100);
  if (choice < 30) return { origin, peer: "pods", where: randomWhere(chance, podSources) };
  if (choice < 45) return { origin, peer: "nodes", where: randomWhere(chance, nodeSources) };
  if (choice < 65) {
    const entity: Entity = chance.is(90) ? chance.of(usualEntities) : chance.of(emptyEntities);
    return { origin, peer: "entity", entity };
  }
  if (choice < 77) return servicePeer(chance, world, origin);
  const prefix = randomPrefix(chance, world, 0);
  const except = chance.list(0, 3, () => randomPrefix(chance, world, prefix.length));
  return {
    origin,
    peer: "addresses",
    prefix,
    except: except.filter((each) => isWithin(each, prefix)),
    matches: chance.is(50) ? "world" : "everything",
  };
}

function servicePeer(chance: Chance, { services = [] }: World, origin: Origin): Peer {
  if (chance.is(50) || services.length === 0) {
    const namespace = chance.is(80) ? undefined : chance.of(words.namespaces);
    return { origin, peer: "services", namespace, where: chance.is(15) ? [] : randomWhere(chance, serviceSources, 1) };
  }
  const { namespace, name } = chance.of(services);
  return chance.is(60)
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

function randomPort(chance: Chance, origin: Origin): PortMatch {
  const choice = chance.below(100);
  const protocol = chance.of(["TCP", "UDP", "SCTP"] as const);
  if (choice < 20) {
    const from = chance.of(words.ports);
    return { origin, match: "ports", protocol, from, to: from, dns: undefined };
  }
  if (choice < 45) {
    const [from = 0, to = 65535] = [chance.of([0, ...words.ports]), chance.of(words.ports)].toSorted((a, b) => a - b);
    return { origin, match: "ports", protocol, from, to, dns: undefined };
  }
  if (choice < 67) return { origin, match: "named-port", protocol, name: chance.of(words.portNames), dns: undefined };
  if (choice < 78) return { origin, match: "icmp", family: 4, type: chance.of(words.icmpTypes) };
  if (choice < 89) return { origin, match: "icmp", family: 6, type: chance.of(words.icmpv6Types) };
  return { origin, match: "ip-protocol", number: chance.of(words.otherProtocols.slice(0, -1)) };
}
