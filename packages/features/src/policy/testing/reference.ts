import type {
  Entity,
  LabelSource,
  Peer,
  Policy,
  PolicyDirection,
  PolicyRule,
  PolicyStatement,
  PortMatch,
  Requirement,
} from "../policy.ts";
import type { PolicyIntent } from "../intent.ts";
import {
  noOtherTiers,
  type OrderedPolicy,
  type OtherTiers,
  type World,
  type WorldNode,
  type WorldPacket,
  type WorldPod,
} from "./world.ts";

/*
 * What policies mean, written from their documents as plainly as can be: rule by rule, with no table, no class of
 * addresses and no cache. It says nothing of how packets are judged, and is what that is held against.
 */

export interface Judgement {
  readonly verdict: "allow" | "deny";
  readonly because: Because;
}

/** What decided. */
export type Because =
  /** No policy selects the pod in that direction. */
  | { readonly by: "nobody" }
  /** The node itself reaches its pods. */
  | { readonly by: "local-host" }
  /** No rule is met, and none of the policies that select the pod denies by default. */
  | { readonly by: "no-default"; readonly tier: Tier }
  | { readonly by: "default-deny"; readonly tier: Tier }
  | {
      readonly by: "rule";
      readonly tier: Tier;
      readonly policy: Policy;
      readonly rule: PolicyRule;
      /** The first that is met; `undefined` where any peer, or any port, is meant. */
      readonly peer: Peer | undefined;
      readonly port: PortMatch | undefined;
    };

export type Tier = PolicyIntent["tier"];

/**
 * Whether the packet passes the policies at one end; those that are tried out only decide nothing. The fallback is
 * asked where no policy selects the pod in that direction. What containers and their ports are told must let it pass
 * besides; of all that let it pass the first one tells.
 */
export function judge(
  policies: readonly Policy[],
  world: World,
  packet: WorldPacket,
  others: Partial<OtherTiers> = {},
): Judgement {
  const { fallback, container, l4 } = { ...noOtherTiers, ...others };
  const subject = world.pods.find(({ name }) => name === packet.pod);
  if (subject === undefined) throw new RangeError(`no pod ${packet.pod}`);
  const peer = findEnd(world, packet.peer);
  if (packet.direction === "ingress" && world.localHost === "auto" && peer.node?.isThisNode === true)
    return { verdict: "allow", because: { by: "local-host" } };
  const asked: Asked = { subject, peer, packet };
  const judgements = [
    judgeTogether("policy", policies, asked) ?? judgeInOrder("fallback", fallback, asked),
    judgeInOrder("container", container, asked),
    judgeTogether("l4", l4, asked),
  ].filter((judgement) => judgement !== undefined);
  const [first = { verdict: "allow", because: { by: "nobody" } }] = judgements;
  return judgements.find(({ verdict }) => verdict === "deny") ?? first;
}

/** One packet at one end. */
interface Asked {
  readonly subject: WorldPod;
  readonly peer: End;
  readonly packet: WorldPacket;
}

/** What any of them denies is denied, else what any allows is allowed. `undefined` where none has a say. */
function judgeTogether(tier: Tier, policies: readonly Policy[], asked: Asked): Judgement | undefined {
  const selecting = selectingOf(policies, asked.subject, asked.packet.direction);
  if (selecting.length === 0) return undefined;
  return judgeRules(tier, [selecting], asked) ?? judgeByDefault(tier, selecting);
}

/** The first rule that is met decides. */
function judgeInOrder(tier: Tier, policies: readonly OrderedPolicy[], asked: Asked): Judgement | undefined {
  const ordered = policies.toSorted(
    (a, b) => a.priority - b.priority || (a.policy.ref.name < b.policy.ref.name ? -1 : 1),
  );
  const selecting = selectingOf(
    ordered.map(({ policy }) => policy),
    asked.subject,
    asked.packet.direction,
  );
  if (selecting.length === 0) return undefined;
  const oneByOne = selecting.map((statement) => [statement]);
  return judgeRules(tier, oneByOne, asked) ?? judgeByDefault(tier, selecting);
}

function judgeRules(
  tier: Tier,
  groups: readonly (readonly Selecting[])[],
  { subject, peer, packet }: Asked,
): Judgement | undefined {
  for (const selecting of groups) {
    for (const verdict of ["deny", "allow"] as const) {
      const found = findRule(tier, selecting, verdict, subject, peer, packet);
      if (found !== undefined) return { verdict, because: found };
    }
  }
  return undefined;
}

function judgeByDefault(tier: Tier, selecting: readonly Selecting[]): Judgement {
  if (selecting.some(({ rules }) => rules.isDefaultDeny))
    return { verdict: "deny", because: { by: "default-deny", tier } };
  return { verdict: "allow", because: { by: "no-default", tier } };
}

/** Whether the first packet of a connection passes at both ends; ends that are no pods let everything pass. */
export function mayConnect(policies: readonly Policy[], world: World, connection: Connection): boolean {
  return mayPass(policies, world, connection, "egress") && mayPass(policies, world, connection, "ingress");
}

export type Connection = Pick<WorldPacket, "protocol" | "port"> & { readonly from: string; readonly to: string };

/** Whether the one end may send it, or the other receive it. */
export function mayPass(
  policies: readonly Policy[],
  world: World,
  { from, to, protocol, port }: Connection,
  direction: WorldPacket["direction"],
): boolean {
  const [own, peer] = direction === "egress" ? [from, to] : [to, from];
  const { pod } = findEnd(world, own);
  if (pod === undefined) return true;
  return judge(policies, world, { pod: pod.name, direction, peer, protocol, port }).verdict === "allow";
}

/** One address, and what has it. Without pod and node it is of the world outside. */
export interface End {
  readonly address: string;
  readonly pod: WorldPod | undefined;
  readonly node: WorldNode | undefined;
}

const ends = new WeakMap<World, ReadonlyMap<string, End>>();

/** What has the address, whatever it is written like. */
export function findEnd(world: World, address: string): End {
  let known = ends.get(world);
  if (known === undefined) {
    const owners = [
      ...world.nodes.map((node) => ({ addresses: node.addresses, pod: undefined, node })),
      ...world.pods.map((pod) => ({ addresses: pod.addresses, pod, node: undefined })),
    ];
    known = new Map(
      owners.flatMap(({ addresses, pod, node }) =>
        addresses.map((each) => [bitsOf(each), { address: each, pod, node }] as const),
      ),
    );
    ends.set(world, known);
  }
  return known.get(bitsOf(address)) ?? { address, pod: undefined, node: undefined };
}

interface Selecting {
  readonly policy: Policy;
  readonly rules: PolicyDirection;
}

function selectingOf(
  policies: readonly Policy[],
  subject: WorldPod,
  direction: WorldPacket["direction"],
): readonly Selecting[] {
  return policies
    .filter(({ mode }) => mode === "enforce")
    .flatMap((policy) =>
      policy.statements
        .filter((each) => selects(each, subject))
        .map((statement) => ({ policy, rules: statement[direction] })),
    )
    .filter(({ rules }) => rules.isDefaultDeny || rules.allow.length + rules.deny.length > 0);
}

export function selects({ subject }: PolicyStatement, pod: WorldPod): boolean {
  return subject.selects === "pods" && subject.where.every((requirement) => meetsPod(requirement, pod));
}

function findRule(
  tier: Tier,
  selecting: readonly Selecting[],
  list: "allow" | "deny",
  subject: WorldPod,
  end: End,
  packet: WorldPacket,
): Extract<Because, { by: "rule" }> | undefined {
  const target = packet.direction === "ingress" ? subject : end.pod;
  for (const { policy, rules } of selecting) {
    for (const rule of rules[list]) {
      const peer = rule.peers === "any" ? "any" : rule.peers.find((each) => isPeer(each, end));
      const port = rule.ports === "any" ? "any" : rule.ports.find((each) => isPort(each, target, packet));
      if (peer === undefined || port === undefined) continue;
      return {
        by: "rule",
        tier,
        policy,
        rule,
        peer: peer === "any" ? undefined : peer,
        port: port === "any" ? undefined : port,
      };
    }
  }
  return undefined;
}

export function isPeer(peer: Peer, end: End): boolean {
  switch (peer.peer) {
    case "pods":
      return end.pod !== undefined && peer.where.every((requirement) => meetsPod(requirement, end.pod as WorldPod));
    case "nodes":
      return end.node !== undefined && peer.where.every((requirement) => meetsNode(requirement, end.node as WorldNode));
    case "entity":
      return isEntity(peer.entity, end);
    case "addresses": {
      const isMeant = peer.matches === "everything" || isEntity("world", end);
      return isMeant && isWithin(end.address, peer.prefix) && !peer.except.some((each) => isWithin(end.address, each));
    }
    case "service":
    case "services":
    case "name":
      return false;
  }
}

function isEntity(entity: Entity, { address, pod, node }: End): boolean {
  const isWorld = pod === undefined && node === undefined;
  switch (entity) {
    case "all":
      return true;
    case "world":
      return isWorld;
    case "world-ipv4":
      return isWorld && !address.includes(":");
    case "world-ipv6":
      return isWorld && address.includes(":");
    case "cluster":
      return !isWorld;
    case "host":
      return node?.isThisNode === true;
    case "remote-node":
      return node?.isThisNode === false;
    case "cluster-mesh":
    case "health":
    case "ingress":
    case "init":
    case "kube-apiserver":
    case "none":
    case "unmanaged":
      return false;
  }
}

/** Rules about whole protocols mean these, too; of those with ports there are other rules. */
const icmpNumbers: Readonly<Record<string, number>> = { ICMP: 1, ICMPv6: 58 };

function isPort(match: PortMatch, target: WorldPod | undefined, { protocol, port }: WorldPacket): boolean {
  switch (match.match) {
    case "ports":
      return match.protocol === protocol && match.from <= port && port <= match.to;
    case "named-port":
      return (
        match.protocol === protocol &&
        (target?.namedPorts ?? []).some(
          (named) => named.protocol === protocol && named.name === match.name && named.port === port,
        )
      );
    case "icmp":
      return protocol === (match.family === 4 ? "ICMP" : "ICMPv6") && match.type === port;
    case "ip-protocol":
      return (typeof protocol === "number" ? protocol : icmpNumbers[protocol]) === match.number;
  }
}

function meetsPod({ on, key, operator, values }: Requirement, pod: WorldPod): boolean {
  return compare(operator, values, valueOfPod(on, key, pod));
}

function valueOfPod(on: LabelSource, key: string, pod: WorldPod): string | undefined {
  switch (on) {
    case "pod":
      return labelOf(pod.labels, key);
    case "namespace-name":
      return pod.namespace;
    case "namespace-label":
      return labelOf(pod.namespaceLabels, key);
    case "service-account":
      return pod.serviceAccount === "" ? undefined : pod.serviceAccount;
    case "cluster":
      return "default";
    case "node":
    case "service":
    case "reserved":
      return undefined;
  }
}

function meetsNode({ on, key, operator, values }: Requirement, node: WorldNode): boolean {
  return compare(
    operator,
    values,
    on === "node" ? labelOf(node.labels, key) : on === "cluster" ? "default" : undefined,
  );
}

function labelOf(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

function compare(operator: Requirement["operator"], values: readonly string[], value: string | undefined): boolean {
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

export function isWithin(address: string, prefix: { readonly bytes: Uint8Array; readonly length: number }): boolean {
  const bits = bitsOfBytes(prefix.bytes);
  const own = bitsOf(address);
  return own.length === bits.length && own.startsWith(bits.slice(0, prefix.length));
}

const knownBytes = new WeakMap<Uint8Array, string>();

/** 32 or 128 of them. */
export function bitsOfBytes(bytes: Uint8Array): string {
  const before = knownBytes.get(bytes);
  if (before !== undefined) return before;
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  knownBytes.set(bytes, bits);
  return bits;
}

const known = new Map<string, string>();

/** An address as its bits: 32 or 128 of them. */
export function bitsOf(address: string): string {
  const before = known.get(address);
  if (before !== undefined) return before;
  const bits = address.includes(":") ? bitsOfIpv6(address) : bitsOfIpv4(address);
  if (bits.length !== 32 && bits.length !== 128) throw new RangeError(`${address} is no address`);
  if (known.size > 100_000) known.clear();
  known.set(address, bits);
  return bits;
}

function bitsOfIpv4(address: string): string {
  return address
    .split(".")
    .map((part) => Number(part).toString(2).padStart(8, "0"))
    .join("");
}

function bitsOfIpv6(address: string): string {
  const [head = "", tail] = address.split("::");
  const words = (text: string): string[] =>
    withoutDots(text)
      .split(":")
      .filter((word) => word !== "");
  const [first, last] = [words(head), words(tail ?? "")];
  const missing = tail === undefined ? 0 : 8 - first.length - last.length;
  return [...first, ...Array.from({ length: missing }, () => "0"), ...last]
    .map((word) => Number.parseInt(word, 16).toString(2).padStart(16, "0"))
    .join("");
}

/** `::ffff:10.0.0.1` in words alone. */
function withoutDots(text: string): string {
  const [, start = "", ipv4] = /^(.*:|)(\d+(?:\.\d+){3})$/.exec(text) ?? [];
  if (ipv4 === undefined) return text;
  const bits = bitsOfIpv4(ipv4);
  return start + [bits.slice(0, 16), bits.slice(16)].map((word) => Number.parseInt(word, 2).toString(16)).join(":");
}
