import type { ObjectRef } from "@bpfleet/base";
import type { Policy, PolicyDirection, PolicyRule, PolicyStatement } from "../policy.ts";
import type { Chance } from "./random.ts";
import { inNamespace, randomWhere, sourcesOf } from "./random-peers.ts";
import { randomRule, type Writer } from "./random-rule.ts";
import type { OrderedPolicy, OtherTiers, World } from "./world.ts";

/* Policies that somebody can write: each is of a kind, and says no more than objects of that kind can. */

export type FirstKind = "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy" | "NetworkPolicy";
export type OrderedKind = "EBPFNetworkPolicy" | "EBPFContainerPolicy";
export type PolicyKind = FirstKind | OrderedKind | "PodConfigMapConfig";

const groups: Readonly<Record<PolicyKind, string>> = {
  CiliumNetworkPolicy: "cilium.io",
  CiliumClusterwideNetworkPolicy: "cilium.io",
  NetworkPolicy: "networking.k8s.io",
  EBPFNetworkPolicy: "networking.fos1.io",
  EBPFContainerPolicy: "networking.fos1.io",
  PodConfigMapConfig: "podconfig.example.com",
};

const firstKinds: readonly FirstKind[] = [
  "CiliumNetworkPolicy",
  "CiliumNetworkPolicy",
  "CiliumClusterwideNetworkPolicy",
  "CiliumClusterwideNetworkPolicy",
  "CiliumClusterwideNetworkPolicy",
  "NetworkPolicy",
];
const nothing: PolicyDirection = { isDefaultDeny: false, allow: [], deny: [] };

/** Between two and six policies about the pods and addresses of the world. */
export function randomPolicies(chance: Chance, world: World, kinds = firstKinds): readonly Policy[] {
  const count = 2 + chance.below(5);
  return Array.from({ length: count }, (_, at) => randomPolicy(chance, world, chance.of(kinds), `p${at}`));
}

/** Often none of a tier. */
export function randomOthers(chance: Chance, world: World): OtherTiers {
  return {
    fallback: chance.is(80) ? [] : randomOrder(chance, world, "EBPFNetworkPolicy"),
    container: chance.is(80) ? [] : randomOrder(chance, world, "EBPFContainerPolicy"),
    l4: chance.is(77) ? [] : chance.list(1, 2, () => undefined).map((_, at) => randomFirewall(chance, world, `l${at}`)),
  };
}

/** Mostly where pods of this node are. */
function randomRef(chance: Chance, world: World, kind: PolicyKind, name: string): ObjectRef {
  const here = world.pods.filter(({ isOnThisNode }) => isOnThisNode).map(({ namespace }) => namespace);
  const own = ["x", "y", "z"].filter((each) => here.includes(each) || chance.is(5));
  const namespace = kind === "CiliumClusterwideNetworkPolicy" ? "" : chance.of(own);
  return { group: groups[kind], kind, namespace, name };
}

/** Ports that are blocked, and ports that are let through, of whoever comes. */
function randomFirewall(chance: Chance, world: World, name: string): Policy {
  const ref = randomRef(chance, world, "PodConfigMapConfig", name);
  const origin = { object: ref, path: "/spec/ebpfConfig/l4Firewall" };
  const writer: Writer = { world, ref, side: "ingress", list: "allow" };
  const rules = (most: number, field: string): readonly PolicyRule[] =>
    chance
      .list(0, most, () => undefined)
      .map((_, at) => randomRule(chance, writer, { object: ref, path: `${origin.path}/${field}/${at}` }))
      .filter((rule, at, all) => all.findIndex(({ ports }) => portOf(ports) === portOf(rule.ports)) === at);
  const ingress = {
    isDefaultDeny: chance.is(30),
    deny: rules(2, "blockedPorts"),
    allow: rules(5, "allowedPorts"),
  };
  const statement = { origin, subject: randomSubject(chance, ref, 40), ingress, egress: nothing, options: {} };
  return { ref, mode: "enforce", onRevoke: "cut", statements: [statement] };
}

function portOf(ports: PolicyRule["ports"]): number | undefined {
  const [first] = ports === "any" ? [] : ports;
  return first?.match === "ports" ? first.from : undefined;
}

/** Statements are single rules, each of many packets: their order tells most. */
export function randomOrder(chance: Chance, world: World, kind: OrderedKind): readonly OrderedPolicy[] {
  return Array.from({ length: 2 + chance.below(2) }, (_, at) => {
    const ref = randomRef(chance, world, kind, `f${at}`);
    const subject = randomSubject(chance, ref, 25);
    const ordered = (["ingress", "egress"] as const).flatMap((side) => {
      const single = (path: string, own: Partial<PolicyDirection>): PolicyStatement => {
        const origin = { object: ref, path };
        return { origin, subject, ingress: nothing, egress: nothing, options: {}, [side]: { ...nothing, ...own } };
      };
      const rules = Array.from({ length: 1 + chance.below(3) }, (__, number) => {
        const list = chance.of(["allow", "deny"] as const);
        const path = `/spec/${side}/${number}`;
        const rule = randomRule(chance, { world, ref, side, list }, { object: ref, path });
        return single(path, { [list]: [{ ...rule, ...(chance.is(50) && { ports: "any" as const }) }] });
      });
      const isClosed = kind === "EBPFContainerPolicy" && chance.is(30);
      return isClosed ? [...rules, single(`/spec/${side}`, { isDefaultDeny: true })] : rules;
    });
    return { priority: chance.below(3) * 100, policy: { ref, mode: "enforce", onRevoke: "cut", statements: ordered } };
  });
}

function randomSubject(chance: Chance, ref: ObjectRef, narrowPercent: number): PolicyStatement["subject"] {
  const sources = sourcesOf(ref.kind, "subject");
  const asked = chance.is(narrowPercent) ? randomWhere(chance, sources) : [];
  const where = ref.namespace === "" ? asked : [inNamespace(ref.namespace), ...asked];
  return { selects: "pods", where, origin: { object: ref, path: "/spec" } };
}

function randomPolicy(chance: Chance, world: World, kind: FirstKind, name: string): Policy {
  const ref = randomRef(chance, world, kind, name);
  const count = kind === "NetworkPolicy" || chance.is(80) ? 1 : 2;
  return {
    ref,
    mode: chance.is(95) ? "enforce" : "shadow",
    onRevoke: chance.is(80) ? "cut" : "keep",
    statements: Array.from({ length: count }, (_, at) => randomStatement(chance, world, ref, `/specs/${at}`)),
  };
}

function randomStatement(chance: Chance, world: World, ref: ObjectRef, path: string): PolicyStatement {
  const isPlain = ref.kind === "NetworkPolicy";
  const direction = (side: "ingress" | "egress"): PolicyDirection => {
    if (chance.is(15)) return nothing;
    const rules = (list: "allow" | "deny", most: number): readonly PolicyRule[] =>
      chance
        .list(0, most, () => undefined)
        .map((_, at) =>
          randomRule(chance, { world, ref, side, list }, { object: ref, path: `${path}/${side}-${list}/${at}` }),
        );
    if (isPlain) return { isDefaultDeny: true, allow: rules("allow", 3), deny: [] };
    const [allow, deny] = [rules("allow", 4), rules("deny", 3)];
    return { isDefaultDeny: chance.is(85), allow, deny };
  };
  const origin = { object: ref, path };
  const [ingress, egress] = [direction("ingress"), direction("egress")];
  return { origin, subject: randomSubject(chance, ref, 35), ingress, egress, options: {} };
}
