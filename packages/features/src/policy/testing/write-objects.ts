import type { Peer, Policy, PolicyDirection, PolicyRule, PolicyStatement, PortMatch } from "../policy.ts";
import type { Chance } from "./random.ts";
import { cidrText, plainSelector, spellingOf, unsayable, type Json } from "./spelling.ts";
import { isOfNamespace, writeCilium, type Written } from "./write-cilium.ts";
import type { OtherTiers } from "./world.ts";

/** A policy as somebody writes it. */
export interface WrittenPolicy {
  readonly policy: Policy;
  readonly object: Json & {
    readonly kind: string;
    readonly metadata: { readonly name: string; readonly namespace?: string | undefined };
  };
  /** Of each rule, as a JSON pointer. */
  readonly places: ReadonlyMap<PolicyRule, string>;
}

/** Throws where an object of the kind cannot say it. */
export function writeObjects(
  policies: readonly Policy[],
  { fallback, container, l4 }: OtherTiers,
): readonly WrittenPolicy[] {
  return [
    ...policies.flatMap((policy) => writeFirst(policy)),
    ...fallback.flatMap(({ policy, priority }) => writeOrdered(policy, priority, writeNetwork)),
    ...container.flatMap(({ policy, priority }) => writeOrdered(policy, priority, writeContainer)),
    ...l4.map((policy) => objectOf(policy, policy.ref.kind, "podconfig.example.com/v1alpha1", writeFirewall(policy))),
  ];
}

function objectOf(policy: Policy, kind: string, apiVersion: string, { fields, places }: Written): WrittenPolicy {
  const { ref, mode, onRevoke } = policy;
  const annotations = {
    ...(mode === "shadow" && { "bpfleet.io/mode": mode }),
    ...(onRevoke === "keep" && { "bpfleet.io/on-revoke": onRevoke }),
  };
  const metadata = {
    name: ref.name,
    ...(kind !== "CiliumClusterwideNetworkPolicy" && { namespace: ref.namespace }),
    ...(Object.keys(annotations).length > 0 && { annotations }),
  };
  return { policy, places, object: { apiVersion, kind, metadata, ...fields } };
}

/** One that is no longer about a single namespace is about the whole cluster. */
function writeFirst(policy: Policy): readonly WrittenPolicy[] {
  const { kind, namespace } = policy.ref;
  if (policy.statements.every(({ ingress, egress }) => isSilent(ingress) && isSilent(egress))) return [];
  if (kind === "NetworkPolicy") return [objectOf(policy, kind, "networking.k8s.io/v1", writeKubernetes(policy))];
  const own = kind === "CiliumNetworkPolicy" && isOfNamespace(policy, namespace) ? namespace : "";
  const written = writeCilium(policy, own);
  return [objectOf(policy, own === "" ? "CiliumClusterwideNetworkPolicy" : kind, "cilium.io/v2", written)];
}

type Places = Map<PolicyRule, string>;

function writeOrdered(
  policy: Policy,
  priority: number,
  write: (policy: Policy, places: Places) => Json,
): readonly WrittenPolicy[] {
  if (policy.statements.length === 0) return [];
  const places: Places = new Map();
  const spec = { ...write(policy, places), ...(priority !== 1000 && { priority }) };
  return [objectOf(policy, policy.ref.kind, "networking.fos1.io/v1alpha1", { fields: { spec }, places })];
}

function writeKubernetes(policy: Policy): Written {
  const [statement, ...others] = policy.statements;
  const { kind, namespace } = policy.ref;
  if (statement === undefined || others.length > 0) throw unsayable("anything but one statement", kind);
  const { ingress, egress, subject, origin } = statement;
  const as = spellingOf(origin, "statement");
  const places: Places = new Map();
  const sides = (["ingress", "egress"] as const).filter((side) => statement[side].isDefaultDeny);
  for (const { isDefaultDeny, allow, deny } of [ingress, egress])
    if (deny.length > 0 || (!isDefaultDeny && allow.length > 0)) throw unsayable("rules without isolation", kind);
  const fields = sides.flatMap((side) => {
    const { allow } = statement[side];
    for (const [at, rule] of allow.entries()) places.set(rule, `/spec/${side}/${at}`);
    const field = side === "ingress" ? "from" : "to";
    return allow.length > 0 || as.is(20)
      ? [[side, allow.map((rule) => writeKubernetesRule(rule, field, namespace))]]
      : [];
  });
  const isImplied = sides[0] === "ingress" && (sides.length === 1 || egress.allow.length > 0);
  const types = sides.map((side) => (side === "ingress" ? "Ingress" : "Egress"));
  const spec = {
    podSelector: plainSelector(withoutOwn(subject.where, namespace, kind), "pod", kind, as),
    ...(!(isImplied && as.is(50)) && { policyTypes: types }),
    ...Object.fromEntries(fields),
  };
  return { fields: { spec }, places };
}

function withoutOwn(where: PolicyStatement["subject"]["where"], namespace: string, kind: string): typeof where {
  const own = where.findIndex(
    ({ on, operator, values }) => on === "namespace-name" && operator === "In" && values.join() === namespace,
  );
  if (own < 0) throw unsayable("pods of all namespaces", kind);
  return where.toSpliced(own, 1);
}

/** An empty list is anybody, and any port. */
function writeKubernetesRule({ origin, peers, ports }: PolicyRule, field: string, namespace: string): Json {
  const as = spellingOf(origin, "rule");
  if (peers.length === 0 || ports.length === 0) throw unsayable("an empty list", "NetworkPolicy");
  const anybody = as.is(20) ? { [field]: [] } : {};
  const anyPort = as.is(20) ? { ports: [] } : {};
  return {
    ...(peers === "any"
      ? anybody
      : { [field]: peers.map((peer) => writePlainPeer(peer, namespace, "NetworkPolicy", as)) }),
    ...(ports === "any" ? anyPort : { ports: ports.map((port) => writeKubernetesPort(port, as)) }),
  };
}

function writeKubernetesPort(port: PortMatch, as: Chance): Json {
  if (port.match !== "named-port") return writePlainPort(port, "NetworkPolicy", as);
  if (port.to !== undefined) throw unsayable("a range from a name", "NetworkPolicy");
  return { ...protocolOf(port.protocol, as), port: port.name };
}

/** TCP is meant where nothing is said. */
function protocolOf(protocol: string, as: Chance): Json {
  return protocol === "TCP" && as.is(40) ? {} : { protocol };
}

function writePlainPort(port: PortMatch, kind: string, as: Chance): Json {
  if (port.match !== "ports" || port.dns !== undefined) throw unsayable(port.match, kind);
  const { protocol, from, to } = port;
  if (from === 0 && to === 65_535) return protocolOf(protocol, as);
  if (from === 0) throw unsayable("port 0", kind);
  return { ...protocolOf(protocol, as), port: from, ...((from !== to || as.is(20)) && { endPort: to }) };
}

function writePlainPeer(peer: Peer, namespace: string, kind: string, as: Chance): Json {
  if (peer.peer === "addresses") return { ipBlock: writeIpBlock(peer, kind) };
  if (peer.peer !== "pods") throw unsayable(peer.peer, kind);
  const pods = peer.where.filter(({ on }) => on === "pod");
  const podSelector = plainSelector(pods, "pod", kind, as);
  const namespaces = peer.where.filter(({ on }) => on !== "pod");
  if (namespaces.some(({ on }) => on === "namespace-name"))
    return { podSelector: plainSelector(withoutOwn(peer.where, namespace, kind), "pod", kind, as) };
  const namespaceSelector = plainSelector(namespaces, "namespace-label", kind, as);
  return { namespaceSelector, ...((pods.length > 0 || as.is(30)) && { podSelector }) };
}

function writeIpBlock({ prefix, except, matches }: Extract<Peer, { peer: "addresses" }>, kind: string): Json {
  if (matches !== "everything") throw unsayable("addresses of the world alone", kind);
  return { cidr: cidrText(prefix), ...(except.length > 0 && { except: except.map(cidrText) }) };
}

/** What is said of one direction, rule by rule, and whether what is left is denied. */
function rulesOf({ statements, ref: { kind } }: Policy, side: "ingress" | "egress") {
  const [other] = side === "ingress" ? (["egress"] as const) : (["ingress"] as const);
  const own = statements.filter((each) => isSilent(each[other]) && !isSilent(each[side])).map((each) => each[side]);
  const rules = own.flatMap(({ allow, deny }) => [
    ...deny.map((rule) => ({ rule, action: "deny" })),
    ...allow.map((rule) => ({ rule, action: "allow" })),
  ]);
  if (statements.some((each) => !isSilent(each[other]) && !isSilent(each[side]))) throw unsayable("both at once", kind);
  return { rules, isClosed: own.some(({ isDefaultDeny }) => isDefaultDeny) };
}

function isSilent({ isDefaultDeny, allow, deny }: PolicyDirection): boolean {
  return !isDefaultDeny && allow.length + deny.length === 0;
}

function actionOf(action: string, as: Chance): Json {
  return action === "allow" && as.is(50) ? {} : { action };
}

function writeNetwork(policy: Policy, places: Places): Json {
  const { kind, namespace } = policy.ref;
  const subject = subjectOf(policy);
  const as = spellingOf(subject.origin, "subject");
  const sides = (["ingress", "egress"] as const).flatMap((side) => {
    const { rules, isClosed } = rulesOf(policy, side);
    if (isClosed) throw unsayable("denial by default", kind);
    const field = side === "ingress" ? "from" : "to";
    const written = rules.map(({ rule, action }, at) => {
      places.set(rule, `/spec/${side}/${at}`);
      const spelling = spellingOf(rule.origin, "rule");
      const { peers, ports } = rule;
      if (ports.length === 0) throw unsayable("no port", kind);
      return {
        ...actionOf(action, spelling),
        ...(peers !== "any" && { [field]: peers.map((peer) => writePlainPeer(peer, namespace, kind, spelling)) }),
        ...(ports !== "any" && { ports: writeNetworkPorts(ports, spelling) }),
      };
    });
    return written.length > 0 || as.is(10) ? [[side, written]] : [];
  });
  return { policyType: "filtering", ...selectorOf(subject, namespace, kind, as), ...Object.fromEntries(sides) };
}

/** ICMP is both families. */
function writeNetworkPorts(ports: readonly PortMatch[], as: Chance): readonly Json[] {
  const numbers = ports.flatMap((port) => (port.match === "ip-protocol" ? [port.number] : []));
  if (numbers.includes(1) !== numbers.includes(58)) throw unsayable("ICMP of one family", "EBPFNetworkPolicy");
  return ports.flatMap((port): readonly Json[] => {
    if (port.match !== "ip-protocol") return [writePlainPort(port, "EBPFNetworkPolicy", as)];
    return port.number === 1 ? [{ protocol: "ICMP" }] : [];
  });
}

function subjectOf({ statements, ref: { kind } }: Policy): PolicyStatement["subject"] {
  const [first, ...others] = statements.map(({ subject }) => subject);
  const text = (subject: typeof first): string => JSON.stringify([subject?.selects, subject?.where]);
  if (first === undefined || others.some((each) => text(each) !== text(first))) throw unsayable("two subjects", kind);
  return first;
}

function selectorOf({ selects, where }: PolicyStatement["subject"], namespace: string, kind: string, as: Chance): Json {
  if (selects === "nodes") return { selector: { nodeSelector: plainSelector(where, "node", kind, as) } };
  const asked = withoutOwn(where, namespace, kind);
  const [pods, others] = [asked.filter(({ on }) => on === "pod"), asked.filter(({ on }) => on !== "pod")];
  const isNeeded = kind === "EBPFContainerPolicy" && others.length === 0;
  const selector = {
    ...((pods.length > 0 || isNeeded || as.is(20)) && { podSelector: plainSelector(pods, "pod", kind, as) }),
    ...(others.length > 0 && { namespaceSelector: plainSelector(others, "namespace-label", kind, as) }),
  };
  return Object.keys(selector).length === 0 && as.is(50) ? {} : { selector };
}

function writeContainer(policy: Policy, places: Places): Json {
  const { kind, namespace } = policy.ref;
  const subject = subjectOf(policy);
  const as = spellingOf(subject.origin, "subject");
  const sides = (["Ingress", "Egress"] as const).map((name) => {
    const side = name === "Ingress" ? "ingress" : "egress";
    const { rules, isClosed } = rulesOf(policy, side);
    const written = rules.map(({ rule, action }, at) => {
      places.set(rule, `/spec/networkControls/${side}Rules/${at}`);
      return writeContainerRule(rule, action);
    });
    if (written.length === 0 && !isClosed) return {};
    return {
      [`enable${name}Control`]: true,
      ...(written.length > 0 && { [`${side}Rules`]: written }),
      ...((isClosed || as.is(30)) && { [`default${name}Action`]: isClosed ? "deny" : "allow" }),
    };
  });
  return { ...selectorOf(subject, namespace, kind, as), networkControls: Object.assign({}, ...sides) as Json };
}

function writeContainerRule({ origin, peers, ports }: PolicyRule, action: string): Json {
  const as = spellingOf(origin, "rule");
  const [peer, ...others] = peers === "any" ? [] : peers;
  if ((peers !== "any" && peer?.peer !== "addresses") || others.length > 0 || ports.length === 0)
    throw unsayable("anything but one block of addresses", "EBPFContainerPolicy");
  return {
    ...actionOf(action, as),
    ...(peer?.peer === "addresses" && { ipBlock: writeIpBlock(peer, "EBPFContainerPolicy") }),
    ...(ports !== "any" && { ports: ports.map((port) => writePlainPort(port, "EBPFContainerPolicy", as)) }),
  };
}

function writeFirewall(policy: Policy): Written {
  const { kind, namespace } = policy.ref;
  const { ingress } = policy.statements[0] ?? {};
  const subject = subjectOf(policy);
  const as = spellingOf(subject.origin, "subject");
  const places: Places = new Map();
  const numbers = (rules: readonly PolicyRule[], field: string): readonly number[] =>
    rules.map((rule, at) => {
      places.set(rule, `/spec/ebpfConfig/l4Firewall/${field}/${at}`);
      const [tcp, udp] = rule.ports === "any" ? [] : rule.ports;
      const isOne = tcp?.match === "ports" && udp?.match === "ports" && tcp.from === tcp.to && tcp.from === udp.to;
      if (!isOne || rule.peers !== "any" || rule.ports.length !== 2) throw unsayable("anything but one port", kind);
      return tcp.from;
    });
  if (policy.statements.length !== 1 || ingress === undefined) throw unsayable("anything but one statement", kind);
  const pods = withoutOwn(subject.where, namespace, kind);
  const l4Firewall = {
    enabled: true,
    defaultAction: ingress.isDefaultDeny ? "block" : "allow",
    ...((ingress.allow.length > 0 || as.is(20)) && { allowedPorts: numbers(ingress.allow, "allowedPorts") }),
    ...((ingress.deny.length > 0 || as.is(20)) && { blockedPorts: numbers(ingress.deny, "blockedPorts") }),
  };
  const isSaid = pods.length > 0 || as.is(50);
  const podSelector = isSaid ? { podSelector: plainSelector(pods, "pod", kind, as) } : {};
  return { fields: { spec: { ...podSelector, ebpfConfig: { l4Firewall } } }, places };
}
