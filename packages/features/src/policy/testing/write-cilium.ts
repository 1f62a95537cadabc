import type { NamePattern, Peer, Policy, PolicyDirection, PolicyRule, PolicyStatement, PortMatch } from "../policy.ts";
import type { Chance } from "./random.ts";
import { addressText, cidrText, ciliumSelector, plainSelector, spellingOf, unsayable, type Json } from "./spelling.ts";

/** Of an object, and the place of each rule in it. */
export interface Written {
  readonly fields: Json;
  readonly places: ReadonlyMap<PolicyRule, string>;
}

type Side = "ingress" | "egress";

/** `spec` and `specs`; without a namespace as for the whole cluster. */
export function writeCilium({ statements }: Policy, namespace: string): Written {
  const places = new Map<PolicyRule, string>();
  const saying = statements.filter(({ ingress, egress }) => saysAnything(ingress) || saysAnything(egress));
  const [first, ...rest] = saying;
  const isPlain = first !== undefined && spellingOf(first.origin, "spec").is(65);
  const write = (statement: PolicyStatement, path: string): Json => writeStatement(statement, namespace, path, places);
  const listed = isPlain ? rest : saying;
  const specs = listed.map((statement, at) => write(statement, `/specs/${at}`));
  return {
    fields: { ...(isPlain && { spec: write(first, "/spec") }), ...(specs.length > 0 && { specs }) },
    places,
  };
}

function saysAnything({ isDefaultDeny, allow, deny }: PolicyDirection): boolean {
  return isDefaultDeny || allow.length + deny.length > 0;
}

function writeStatement(
  statement: PolicyStatement,
  namespace: string,
  path: string,
  places: Map<PolicyRule, string>,
): Json {
  const { subject, origin } = statement;
  const as = spellingOf(origin, "statement");
  const [ingress, egress] = (["ingress", "egress"] as const).map((side) => {
    const { isDefaultDeny, allow, deny } = statement[side];
    const isImplied = allow.length + deny.length > 0;
    // An item that says nothing allows nobody, and denies by default.
    const isBlank = isDefaultDeny && !isImplied;
    for (const [field, rules] of [
      [side, allow],
      [`${side}Deny`, deny],
    ] as const)
      for (const [at, rule] of rules.entries()) places.set(rule, `${path}/${field}/${at}`);
    const allowed = isBlank ? [{}] : allow.map((rule) => writeRule(rule, side, namespace));
    return {
      fields: {
        ...((allowed.length > 0 || as.is(20)) && { [side]: allowed }),
        ...((deny.length > 0 || as.is(10)) && {
          [`${side}Deny`]: deny.map((rule) => writeRule(rule, side, namespace)),
        }),
      },
      isDefaultDeny: isDefaultDeny !== (isImplied || isBlank) || as.is(15) ? { [side]: isDefaultDeny } : {},
    };
  });
  const enableDefaultDeny = { ...ingress?.isDefaultDeny, ...egress?.isDefaultDeny };
  return {
    ...writeSubject(subject, namespace, as),
    ...ingress?.fields,
    ...egress?.fields,
    ...(Object.keys(enableDefaultDeny).length > 0 && { enableDefaultDeny }),
  };
}

function writeSubject({ selects, where }: PolicyStatement["subject"], namespace: string, as: Chance): Json {
  if (selects === "nodes") return { nodeSelector: ciliumSelector(where, as) };
  // Whatever an object of a namespace says of namespaces, it is about its own.
  const asked = namespace === "" ? where : where.filter(({ on }) => on !== "namespace-name");
  return { endpointSelector: ciliumSelector(asked, as) };
}

/** Whether it can be an object of the namespace. */
export function isOfNamespace({ statements }: Policy, namespace: string): boolean {
  return statements.every(({ subject: { selects, where } }) => {
    const names = where.filter(({ on }) => on === "namespace-name");
    return selects === "pods" && names.length > 0 && names.every((each) => isOwn(each, namespace));
  });
}

function isOwn(
  { on, operator, values }: { on: string; operator: string; values: readonly string[] },
  namespace: string,
) {
  return on === "namespace-name" && operator === "In" && values.join() === namespace;
}

function writeRule(rule: PolicyRule, side: Side, namespace: string): Json {
  const as = spellingOf(rule.origin, "rule");
  const { peers, ports } = rule;
  const [from, endpoints] = side === "ingress" ? ["from", "fromEndpoints"] : ["to", "toEndpoints"];
  const anyPort = ports === "any" && as.is(15) ? { toPorts: [] } : {};
  const written = ports === "any" ? anyPort : writePorts(ports, as);
  if (peers === "any") return ports === "any" ? { [`${from}Entities`]: ["all"], ...written } : written;
  if (peers.length === 0) return ports === "any" && as.is(50) ? written : { [endpoints]: [], ...written };
  const fields: Record<string, unknown[]> = {};
  for (const [at, peer] of peers.entries()) {
    const [field, value] = writePeer(peer, side, namespace, spellingOf(rule.origin, `peer ${at}`));
    (fields[`${from}${field}`] ??= []).push(value);
  }
  return { ...fields, ...written };
}

function writePeer(peer: Peer, side: Side, namespace: string, as: Chance): readonly [field: string, value: unknown] {
  switch (peer.peer) {
    case "pods":
      return ["Endpoints", ciliumSelector(scopedWhere(peer.where, namespace, as), as)];
    case "nodes":
      return ["Nodes", ciliumSelector(peer.where, as)];
    case "entity":
      return as.is(20)
        ? ["Endpoints", as.is(50) ? { matchLabels: { [`reserved:${peer.entity}`]: "" } } : reserved(peer.entity)]
        : ["Entities", peer.entity];
    case "addresses": {
      if (peer.matches !== "world") throw unsayable("addresses of pods", "Cilium's");
      const { prefix, except } = peer;
      const isWhole = prefix.length === 8 * prefix.bytes.length && as.is(50);
      if (except.length === 0 && as.is(50))
        return ["CIDR", isWhole ? addressText(prefix.family, prefix.bytes) : cidrText(prefix)];
      return ["CIDRSet", { cidr: cidrText(prefix), ...(except.length > 0 && { except: except.map(cidrText) }) }];
    }
    default:
      if (side === "ingress") throw unsayable(`${peer.peer} at ingress`, "Cilium's");
      return writeDestination(peer, namespace, as);
  }
}

function reserved(entity: string): Json {
  return { matchExpressions: [{ key: `reserved:${entity}`, operator: "Exists" }] };
}

function writeDestination(
  peer: Extract<Peer, { peer: "service" | "services" | "name" }>,
  own: string,
  as: Chance,
): readonly [field: string, value: unknown] {
  switch (peer.peer) {
    case "service": {
      const { namespace, name } = peer;
      const isOther = namespace !== own || as.is(50);
      return ["Services", { k8sService: { serviceName: name, ...(isOther && { namespace }) } }];
    }
    case "services": {
      const { namespace = "", where } = peer;
      const selector = plainSelector(where, "service", "toServices", as);
      const isSaid = namespace !== "" || as.is(30);
      return ["Services", { k8sServiceSelector: { selector, ...(isSaid && { namespace }) } }];
    }
    case "name":
      return ["FQDNs", writeName(peer.name, as)];
  }
}

/** Pods of the own namespace are meant where none is named: those of all are asked for by a label that all have. */
function scopedWhere(
  where: Extract<Peer, { peer: "pods" }>["where"],
  namespace: string,
  as: Chance,
): Extract<Peer, { peer: "pods" }>["where"] {
  if (namespace === "") return where;
  const others = ["namespace-name", "namespace-label", "reserved"];
  const own = where.findIndex((each) => isOwn(each, namespace));
  const rest = own < 0 ? where : where.toSpliced(own, 1);
  if (rest.some(({ on }) => others.includes(on))) return where;
  if (own >= 0) return as.is(70) ? rest : where;
  return [...where, { on: "namespace-name", key: "", operator: "Exists", values: [] }];
}

function writeName({ is, text }: NamePattern, as: Chance): Json {
  const spelled = `${as.is(20) ? text.toUpperCase() : text}${is === "name" && as.is(20) ? "." : ""}`;
  return is === "name" && as.is(80) ? { matchName: spelled } : { matchPattern: spelled };
}

function writePorts(ports: readonly PortMatch[], as: Chance): Json {
  const types = ports.filter((port) => port.match === "icmp");
  if (types.length > 0 && types.length < ports.length) throw unsayable("ports beside types of ICMP", "Cilium's");
  if (types.length > 0) return { icmps: [{ fields: types.map((type) => writeType(type, as)) }] };
  const written = spellPorts(ports, as);
  const plain = written.filter(({ dns }) => dns === undefined).map(({ port }) => port);
  const asking = written.flatMap(({ port, dns }) => (dns === undefined ? [] : [{ ports: [port], rules: { dns } }]));
  const isApart = as.is(30);
  const together = isApart ? plain.map((port) => ({ ports: [port] })) : [{ ports: plain }];
  return {
    toPorts: [
      ...(plain.length > 0 || asking.length === 0 ? together : []),
      ...asking,
      ...(isApart && written.length === 0 ? [{ ports: [] }] : []),
    ],
  };
}

interface WrittenPort {
  readonly port: Json;
  readonly dns: readonly Json[] | undefined;
}

/** A port of all three protocols is one of any. */
function spellPorts(ports: readonly PortMatch[], as: Chance): readonly WrittenPort[] {
  const all: WrittenPort[] = [];
  for (let at = 0; at < ports.length; at++) {
    const three = ports.slice(at, at + 3);
    if (isAnyProtocol(three)) {
      const [first] = three;
      const { protocol: _, ...port } = writePort(first as PortMatch, as).port;
      all.push({ port: as.is(50) ? port : { ...port, protocol: "ANY" }, dns: undefined });
      at += 2;
    } else all.push(writePort(ports[at] as PortMatch, as));
  }
  return all;
}

function isAnyProtocol(three: readonly PortMatch[]): boolean {
  const texts = three.map((port) =>
    port.match === "ports" && port.dns === undefined ? `${port.protocol} ${port.from} ${port.to}` : "",
  );
  const [, rest] = /^TCP (.*)$/.exec(texts[0] ?? "") ?? [];
  return rest !== undefined && texts[1] === `UDP ${rest}` && texts[2] === `SCTP ${rest}`;
}

const portless: Readonly<Record<number, string>> = { 2: "IGMP", 47: "GRE", 50: "ESP", 112: "VRRP" };

function writePort(port: PortMatch, as: Chance): WrittenPort {
  switch (port.match) {
    case "ports": {
      const { protocol, from, to } = port;
      if (to === 0) throw unsayable("port 0 alone", "Cilium's");
      const isAll = from === 0 && to === 65_535 && as.is(70);
      const endPort = isAll || (from === to && as.is(80)) ? {} : { endPort: to };
      if (port.dns?.length === 0) throw unsayable("no name", "Cilium's");
      const dns = port.dns?.map((name) => writeName(name, as));
      // Beside names no range may stand.
      return { port: { port: `${from}`, protocol, ...(dns === undefined && endPort) }, dns };
    }
    case "named-port": {
      const { protocol, name, to } = port;
      return {
        port: { port: as.is(20) ? name.toUpperCase() : name, protocol, ...(to !== undefined && { endPort: to }) },
        dns: undefined,
      };
    }
    case "ip-protocol": {
      const protocol = portless[port.number];
      if (protocol === undefined) throw unsayable(`protocol ${port.number}`, "Cilium's");
      return { port: { port: "0", protocol }, dns: undefined };
    }
    case "icmp":
      throw unsayable("a type of ICMP as a port", "Cilium's");
  }
}

const typeNames: Readonly<Record<string, string>> = {
  "4 0": "EchoReply",
  "4 3": "DestinationUnreachable",
  "4 8": "EchoRequest",
  "6 1": "DestinationUnreachable",
  "6 128": "EchoRequest",
  "6 129": "EchoReply",
};

function writeType({ family, type }: Extract<PortMatch, { match: "icmp" }>, as: Chance): Json {
  const isFamilySaid = family === 6 || as.is(50);
  const spelled = as.of([type, `${type}`, typeNames[`${family} ${type}`] ?? type]);
  return { ...(isFamilySaid && { family: `IPv${family}` }), type: spelled };
}
