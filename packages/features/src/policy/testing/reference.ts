import type { Peer, Policy, PolicyDirection, PolicyRule, PolicyStatement, PortMatch } from "../policy.ts";
import type { PolicyIntent } from "../intent.ts";
import { meetsNode, meetsPod } from "./reference-labels.ts";
import { asksUnread, letsAsk } from "./reference-names.ts";
import { hasAddressOf } from "./reference-services.ts";
import {
  noOtherTiers,
  type OrderedPolicy,
  type OtherTiers,
  type World,
  type WorldPacket,
  type WorldPod,
} from "./world.ts";
import { findEnd, isOfLink, isPeer, type End } from "./reference-peers.ts";

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
  /** A port of the node itself that nothing closes. */
  | { readonly by: "fail-safe" }
  /** What the node tells of packets that pass it, and which groups somebody listens to: no table is asked. */
  | { readonly by: "upkeep" }
  /** No rule is met, and none of the policies that select the pod denies by default. */
  | { readonly by: "no-default"; readonly tier: Tier }
  /** `policies`: those that do. */
  | { readonly by: "default-deny"; readonly tier: Tier; readonly policies: readonly Policy[] }
  /** A question of DNS that the rules of its port do not let the pod ask. */
  | { readonly by: "dns-name" }
  /** It is for a Service behind which nobody is ready, but the pod itself perhaps. */
  | { readonly by: "no-backend" }
  | {
      readonly by: "rule";
      readonly tier: Tier;
      readonly policy: Policy;
      readonly rule: PolicyRule;
      /** All that are met beside it, and it: none of them is before another. */
      readonly among: readonly PolicyRule[];
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
  if (packet.pod === "") return judgeNode(policies, fallback, world, packet);
  const subject = world.pods.find(({ name }) => name === packet.pod);
  if (subject === undefined) throw new RangeError(`no pod ${packet.pod}`);
  const peer = findEnd(world, packet.peer, packet);
  if (packet.direction === "ingress" && world.localHost === "auto" && peer.node?.isThisNode === true)
    return { verdict: "allow", because: { by: "local-host" } };
  const asked: AskedOfPod = { world, subject, peer, packet };
  const judgements = [
    judgeTogether("policy", policies, asked) ?? judgeInOrder("fallback", fallback, asked),
    judgeInOrder("container", container, asked),
    judgeTogether("l4", l4, asked),
  ].filter((judgement) => judgement !== undefined);
  const [first = { verdict: "allow", because: { by: "nobody" } }] = judgements;
  return judgements.find(({ verdict }) => verdict === "deny") ?? first;
}

/** Of a packet to a Service without a back end for it. */
export function judgeWithoutBackend(...asked: Parameters<typeof judge>): Judgement {
  const judgement = judge(...asked);
  return judgement.because.by === "nobody" ? judgement : { verdict: "deny", because: { by: "no-backend" } };
}

/** One packet at one end. */
interface Asked {
  readonly world: World;
  /** `undefined`: this node itself. */
  readonly subject: WorldPod | undefined;
  readonly peer: End;
  readonly packet: WorldPacket;
}

type AskedOfPod = Asked & { readonly subject: WorldPod };

/** What this node itself receives and sends. */
function judgeNode(
  policies: readonly Policy[],
  fallback: readonly OrderedPolicy[],
  world: World,
  packet: WorldPacket,
): Judgement {
  const first = selectingNode(policies, world, packet);
  const ordered = selectingNode(inOrder(fallback), world, packet);
  if (first.length + ordered.length === 0) return { verdict: "allow", because: { by: "nobody" } };
  if (isUpkeep(packet)) return { verdict: "allow", because: { by: "upkeep" } };
  if (isFailSafe(packet, world)) return { verdict: "allow", because: { by: "fail-safe" } };
  const asked = { world, subject: undefined, peer: findEnd(world, packet.peer, packet), packet };
  const [tier, selecting, groups] =
    first.length > 0
      ? (["policy", first, [first]] as const)
      : (["fallback", ordered, ordered.map((statement) => [statement])] as const);
  return judgeRules(tier, groups, asked) ?? judgeByDefault(tier, selecting);
}

function selectingNode(policies: readonly Policy[], world: World, { direction }: WorldPacket): readonly Selecting[] {
  const unknown = { name: "", labels: {}, addresses: [], isThisNode: true };
  const node = world.nodes.find(({ isThisNode }) => isThisNode) ?? unknown;
  return policies
    .filter(({ mode }) => mode === "enforce")
    .flatMap((policy) =>
      policy.statements
        .filter(({ subject }) => subject.selects === "nodes" && subject.where.every((each) => meetsNode(each, node)))
        .map((statement) => ({ policy, rules: statement[direction] })),
    )
    .filter(({ rules }) => rules.isDefaultDeny || rules.allow.length + rules.deny.length > 0);
}

/** Errors of ICMP that the node sends, and IGMP. */
function isUpkeep({ direction, protocol, port, peer }: WorldPacket): boolean {
  if (protocol === 2) return !peer.includes(":");
  if (direction === "ingress") return false;
  return protocol === "ICMP" ? [3, 11, 12].includes(port) : protocol === "ICMPv6" && port >= 1 && port <= 4;
}

/** SSH, the API server, etcd, the kubelet, metrics; DHCP; where the node asks DNS, the webhook and whoever serves the API. */
function isFailSafe({ direction, protocol, port, peer }: WorldPacket, world: World): boolean {
  const tcp = direction === "ingress" ? [22, 2379, 2380, 6443, 9091, 10_250] : [53, 2379, 2380, 6443, 9443, 10_250];
  const isApi = hasAddressOf(world, peer, ({ namespace, name }) => namespace === "default" && name === "kubernetes");
  if (direction === "egress" && protocol === "TCP" && isApi) return true;
  const udp = direction === "ingress" ? [67, 68, 546, 547] : [53, 67, 68, 546, 547];
  return (protocol === "TCP" && tcp.includes(port)) || (protocol === "UDP" && udp.includes(port));
}

/** What any of them denies is denied, else what any allows is allowed. `undefined` where none has a say. */
function judgeTogether(tier: Tier, policies: readonly Policy[], asked: AskedOfPod): Judgement | undefined {
  const selecting = selectingOf(policies, asked.subject, asked.packet.direction);
  if (selecting.length === 0) return undefined;
  const judgement = judgeRules(tier, [selecting], asked) ?? judgeByDefault(tier, selecting);
  return judgement.verdict === "deny" || mayAsk(selecting, asked)
    ? judgement
    : { verdict: "deny", because: { by: "dns-name" } };
}

/**
 * Of all rules that let the question through, one must name it, or name nothing. Those that mean the server by its name
 * are asked where no other does.
 */
function mayAsk(selecting: readonly Selecting[], { world, peer, packet }: Asked): boolean {
  if (packet.direction !== "egress" || packet.protocol !== "UDP" || packet.port !== 53) return true;
  const rules = selecting.flatMap(({ rules: { allow } }) => allow);
  for (const end of [{ ...peer, names: [] }, peer]) {
    const portsOf = rules
      .filter(({ peers }) => peers === "any" || peers.some((each) => isPeer(each, end, world)))
      .map(({ ports }) => (ports === "any" ? ports : ports.filter((each) => isPort(each, peer.pod, packet))))
      .filter((ports) => ports.length > 0);
    if (portsOf.length > 0)
      return portsOf.some((ports) => ports === "any" || ports.some((port) => letsAsk(port, packet.asks)));
  }
  return true;
}

/** The first rule that is met decides. */
function judgeInOrder(tier: Tier, policies: readonly OrderedPolicy[], asked: AskedOfPod): Judgement | undefined {
  const selecting = selectingOf(inOrder(policies), asked.subject, asked.packet.direction);
  if (selecting.length === 0) return undefined;
  const oneByOne = selecting.map((statement) => [statement]);
  return judgeRules(tier, oneByOne, asked) ?? judgeByDefault(tier, selecting);
}

function inOrder(policies: readonly OrderedPolicy[]): readonly Policy[] {
  const place = ({ policy: { ref } }: OrderedPolicy): string => `${ref.namespace}/${ref.name}`;
  const sorted = policies.toSorted((a, b) => a.priority - b.priority || (place(a) < place(b) ? -1 : 1));
  return sorted.map(({ policy }) => policy);
}

function judgeRules(tier: Tier, groups: readonly (readonly Selecting[])[], asked: Asked): Judgement | undefined {
  for (const selecting of groups) {
    for (const verdict of ["deny", "allow"] as const) {
      const found = findRule(tier, selecting, verdict, asked);
      if (found !== undefined) return { verdict, because: found };
    }
  }
  return undefined;
}

function judgeByDefault(tier: Tier, selecting: readonly Selecting[]): Judgement {
  const policies = selecting.filter(({ rules }) => rules.isDefaultDeny).map(({ policy }) => policy);
  if (policies.length > 0) return { verdict: "deny", because: { by: "default-deny", tier, policies } };
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
        .map((statement) => ({ policy, rules: rulesFor(statement, subject, direction) })),
    )
    .filter(({ rules }) => rules.isDefaultDeny || rules.allow.length + rules.deny.length > 0);
}

/** Perhaps: of namespaces that nobody knows all labels may not be told. */
export function selects({ subject }: PolicyStatement, pod: WorldPod): boolean {
  return subject.selects === "pods" && subject.where.every((requirement) => meetsPod(requirement, pod));
}

/** Whom it selects only perhaps it isolates, and allows nothing. */
function rulesFor(statement: PolicyStatement, pod: WorldPod, direction: WorldPacket["direction"]): Selecting["rules"] {
  const rules = statement[direction];
  const isSure = statement.subject.where.every((requirement) => meetsPod(requirement, pod, true));
  return isSure ? rules : { ...rules, allow: [] };
}

function findRule(
  tier: Tier,
  selecting: readonly Selecting[],
  list: "allow" | "deny",
  { world, subject, peer: end, packet }: Asked,
): Extract<Because, { by: "rule" }> | undefined {
  // Rules that allow mean whom they surely mean, those that deny whom they may.
  const isMeant = (each: Peer): boolean => isPeer(each, end, world, list === "allow");
  const target = packet.direction === "ingress" ? subject : end.pod;
  const isThere = (each: PortMatch): boolean =>
    isPort(each, target, packet) ||
    (list === "deny" &&
      packet.direction === "egress" &&
      isOfLink(end) &&
      world.pods.some((pod) => isPort(each, pod, packet)));
  const met = selecting.flatMap(({ policy, rules }) =>
    rules[list].flatMap((rule) => {
      const peer = rule.peers === "any" ? undefined : rule.peers.find(isMeant);
      const port = rule.ports === "any" ? undefined : rule.ports.find(isThere);
      const isMet = (rule.peers === "any" || peer !== undefined) && (rule.ports === "any" || port !== undefined);
      return isMet ? [{ policy, rule, peer, port }] : [];
    }),
  );
  const [first] = met;
  return first && { by: "rule", tier, among: met.map(({ rule }) => rule), ...first };
}

/** Rules about whole protocols mean these, too; of those with ports there are other rules. */
const icmpNumbers: Readonly<Record<string, number>> = { ICMP: 1, ICMPv6: 58 };

function isPort(match: PortMatch, target: WorldPod | undefined, { protocol, port }: WorldPacket): boolean {
  switch (match.match) {
    case "ports":
      if (asksUnread(match)) return false;
      return match.protocol === protocol && match.from <= port && port <= match.to;
    case "named-port":
      return (
        match.protocol === protocol &&
        (target?.namedPorts ?? []).some(
          (named) =>
            named.protocol === protocol &&
            named.name === match.name &&
            named.port <= port &&
            port <= Math.max(named.port, match.to ?? 0),
        )
      );
    case "icmp":
      return protocol === (match.family === 4 ? "ICMP" : "ICMPv6") && match.type === port;
    case "ip-protocol":
      return (typeof protocol === "number" ? protocol : icmpNumbers[protocol]) === match.number;
  }
}
