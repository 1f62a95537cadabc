import type { Entity, Peer, Policy, PolicyRule } from "@bpfleet/features";
import { parsePrefix, renderPrefix } from "../address/prefix.ts";
import { containsPrefix } from "../policy/contains-prefix.ts";
import { meetsAll, selectsAllOf } from "../policy/requirements.ts";
import { renderPath } from "../yaml/places.ts";
import type { LintPod, LintView } from "./lint-view.ts";
import { listPods } from "./names.ts";
import { OwnAddressIndex } from "./own-address-index.ts";
import { hasPorts } from "./overruled.ts";

type Cidr = Extract<Peer, { readonly peer: "addresses" }>;

const places = [
  { side: "ingress", list: "allow", way: "from" },
  { side: "ingress", list: "deny", way: "from" },
  { side: "egress", list: "allow", way: "to" },
  { side: "egress", list: "deny", way: "to" },
] as const;

/** Each looks at every pod of a cluster, and somebody waits for the answer. */
const maxLooks = 16;

/** Rules are held against each other. */
const maxBeside = 50;

/** CIDRs of Cilium's kinds mean the world only, and no node or pod whatever address it has. */
export function findMissedByCidrs({ statements }: Policy, view: LintView): readonly string[] {
  const cidrs = statements.flatMap((statement) =>
    places.flatMap(({ side, list, way }) => {
      const rules = statement[side][list];
      if (!rules.some(({ peers }) => peers !== "any" && peers.some(isOfWorld))) return [];
      const others = statements
        .slice(0, maxBeside)
        .filter((other) => other !== statement && selectsAllOf(other.subject, statement.subject));
      const beside = [statement, ...others].flatMap((other) => other[side][list].filter(isOfInside));
      return worldOf(rules, beside.slice(0, maxBeside)).map((cidr) => ({ ...cidr, way }));
    }),
  );
  if (cidrs.length === 0) return [];
  const ofNodes = new OwnAddressIndex(view.ownAddresses.filter(({ isOfNode }) => isOfNode === true));
  return cidrs.flatMap(({ peer, beside, way }, index): readonly string[] => {
    const { origin, prefix } = peer;
    const say = (missed: string, instead: string): string => {
      const isOne = prefix.length === 8 * prefix.bytes.length;
      const what = isOne ? `${missed}, is not meant` : `${renderPrefix(prefix)} does not mean ${missed}`;
      return `${renderPath(origin.path)}: ${what}: CIDRs never mean nodes or pods; ${instead} does`;
    };
    const node = meansNodes(beside) ? undefined : ofNodes.within(prefix).find(({ address }) => isWithin(address, peer));
    const pods = index < maxLooks ? podsWithin(peer, beside, view) : [];
    return [
      ...(node === undefined ? [] : [say(`${node.address}, ${node.owner}`, `${way}Entities: [host, remote-node]`)]),
      ...(pods.length === 0 ? [] : [say(`${pods.length === 1 ? "pod" : "pods"} ${listPods(pods)}`, `${way}Endpoints`)]),
    ];
  });
}

function isWithin(text: string, { prefix, except }: Cidr): boolean {
  const read = parsePrefix(text);
  if (!read.ok || !containsPrefix(prefix, read.prefix)) return false;
  return !except.some((part) => containsPrefix(part, read.prefix));
}

/** Without those that are meant otherwise. */
function podsWithin(cidr: Cidr, beside: readonly Peer[], view: LintView): readonly LintPod[] {
  if (hasEntity(beside, "cluster")) return [];
  const selectors = beside.flatMap((peer) => (peer.peer === "pods" ? [peer.where] : []));
  const isMissed = (pod: LintPod): boolean =>
    pod.addresses?.some((address) => isWithin(address, cidr)) === true &&
    !selectors.some((where) => meetsAll(where, pod));
  return view.findPods(isMissed, Infinity) ?? [];
}

function meansNodes(beside: readonly Peer[]): boolean {
  return hasEntity(beside, "cluster") || (hasEntity(beside, "host") && hasEntity(beside, "remote-node"));
}

function hasEntity(peers: readonly Peer[], asked: Entity): boolean {
  return peers.some((peer) => peer.peer === "entity" && (peer.entity === asked || peer.entity === "all"));
}

interface WorldCidr {
  readonly peer: Cidr;
  /** Whom rules mean on at least the same ports. */
  readonly beside: readonly Peer[];
}

/** Whoever writes 0.0.0.0/0 means the world, and where a rule is about everybody nobody is missed. */
function worldOf(rules: readonly PolicyRule[], all: readonly PolicyRule[]): readonly WorldCidr[] {
  return rules.flatMap((rule) => {
    const cidrs = (rule.peers === "any" ? [] : rule.peers).filter(isOfWorld);
    if (cidrs.length === 0) return [];
    const beside = all.filter((each) => hasPorts(each, rule)).map(({ peers }) => peers);
    if (beside.includes("any")) return [];
    const peers = beside.flatMap((each) => (each === "any" ? [] : each));
    return cidrs.map((peer) => ({ peer, beside: peers }));
  });
}

function isOfInside({ peers }: PolicyRule): boolean {
  return peers === "any" || peers.some(({ peer }) => peer === "pods" || peer === "entity");
}

function isOfWorld(peer: Peer): peer is Cidr {
  return peer.peer === "addresses" && peer.matches === "world" && peer.prefix.length > 0;
}
