import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { soundItems } from "../../schema/sound-items.ts";
import { icmpTypes, parseIcmpType } from "../../policy/icmp-types.ts";
import { parsePort, portlessProtocols } from "../../policy/port-text.ts";
import { checkName } from "./check-peers.ts";
import type { AnyRule } from "./peer-fields.ts";
import type { CiliumPortRule } from "./rule-schema.ts";

interface PortPlace {
  readonly direction: "ingress" | "egress";
  readonly isDeny: boolean;
  readonly isNode: boolean;
}

type PortItem = NonNullable<CiliumPortRule["ports"]>[number];
type L7Rules = NonNullable<CiliumPortRule["rules"]>;

type Placed<T> = readonly (readonly [item: T, path: string])[];

export function checkPorts(rules: Placed<CiliumPortRule>, place: PortPlace, found: IssueList): void {
  for (const [rule, path] of rules) {
    const isSound = found.isSound(path);
    for (const [port, at] of soundItems(rule.ports, `${path}/ports`, found)) checkPort(port, at, found);
    if (!isSound) continue;
    if (rule.ports?.length === 0)
      found.warning(
        `${path}/ports`,
        "empty-list",
        "is an empty list, so no port is meant; leave toPorts out to mean any",
      );
    if (rule.ports === undefined && rule.rules === undefined)
      found.warning(path, "empty-list", "names no port, so none is meant; leave toPorts out to mean any");
    if (rule.rules !== undefined) checkL7(rule, rule.rules, path, place, found);
    for (const [number, name] of (rule.serverNames ?? []).entries())
      if (name === "") found.error(`${path}/serverNames/${number}`, "policy", "must not be empty");
    if ((rule.serverNames ?? []).length > 0 && kindsOf(rule.rules).length > 0 && rule.terminatingTLS === undefined)
      found.error(`${path}/serverNames`, "policy", "must not stand beside rules without terminatingTLS");
    if (rule.listener !== undefined && place.direction === "ingress")
      found.error(`${path}/listener`, "policy", "is for egress only");
    if (rule.listener !== undefined && kindsOf(rule.rules).length > 0)
      found.error(`${path}/listener`, "policy", "must not stand beside rules");
  }
}

function checkPort({ port, endPort, protocol }: PortItem, at: string, found: IssueList): void {
  const read = parsePort(port);
  if (read.is === "wrong") {
    found.error(`${at}/port`, "policy", `must be a port, is ${describe(port)}: ${read.because}`);
    return;
  }
  if (protocol !== undefined && portlessProtocols[protocol] !== undefined && read.is !== "any")
    found.error(`${at}/port`, "policy", `must be "0" for protocol ${protocol}, which has no ports`);
  if (endPort === undefined || endPort === 0) return;
  if (read.is === "number" && endPort < read.number)
    found.error(
      `${at}/endPort`,
      "policy",
      `must be at least port, which is ${read.number}, is ${endPort}; Cilium takes port ${read.number} alone`,
    );
  if (protocol !== undefined && portlessProtocols[protocol] !== undefined)
    found.warning(`${at}/endPort`, "no-effect", `has no effect with protocol ${protocol}, which has no ports`);
  else if (read.is === "any" && endPort < 65535)
    found.warning(`${at}/endPort`, "from-zero", `makes of port "0", which alone is any port, a range: 0 to ${endPort}`);
}

/** The sorts of L7 rules that are there, even if empty. */
function kindsOf(rules: L7Rules | undefined): readonly ("dns" | "http" | "kafka" | "l7proto")[] {
  return (["dns", "http", "kafka", "l7proto"] as const).filter((kind) => rules?.[kind] !== undefined);
}

function checkL7(rule: CiliumPortRule, rules: L7Rules, path: string, place: PortPlace, found: IssueList): void {
  const at = `${path}/rules`;
  const kinds = kindsOf(rules);
  const ports = rule.ports ?? [];
  if (kinds.length > 0 && place.isDeny) found.error(at, "policy", "must not stand in a rule that denies");
  if (kinds.length > 1) found.error(at, "policy", `must have rules of one protocol only, has ${kinds.join(" and ")}`);
  if (rules.l7 !== undefined && rules.l7proto === undefined) found.error(`${at}/l7`, "policy", "needs l7proto");
  if (kinds.length > 0 && ports.some(({ port }) => parsePort(port).is === "any"))
    found.error(at, "policy", 'must not stand beside port "0"');
  for (const kind of kinds) {
    if (kind === "dns") continue;
    if (place.isNode) found.error(`${at}/${kind}`, "policy", "must not stand in a rule about nodes");
    if (ports.some(({ protocol }) => protocol !== "TCP"))
      found.error(`${at}/${kind}`, "policy", "needs protocol TCP on every port");
  }
  if (rules.dns === undefined) return;
  if (place.direction === "ingress") found.error(`${at}/dns`, "policy", "is for egress only");
  if (ports.length === 0) found.error(`${at}/dns`, "policy", "needs a port, which is 53 as a rule");
  for (const [index, { port, endPort }] of ports.entries())
    if (endPort !== undefined && endPort > 0 && !(endPort <= Number(port)))
      found.error(
        `${path}/ports/${index}/endPort`,
        "policy",
        "must be left out beside rules.dns, which take no ranges",
      );
  if (place.direction === "egress") warnOfDeafPorts(ports, rules.dns, path, found);
  for (const [index, name] of rules.dns.entries()) checkName(name, `${at}/dns/${index}`, found);
}

function warnOfDeafPorts(
  ports: readonly PortItem[],
  names: NonNullable<L7Rules["dns"]>,
  path: string,
  found: IssueList,
): void {
  if (names.length === 0) return;
  const isAnyName = names.some(({ matchPattern }) => matchPattern === "*" || matchPattern === "**");
  const but = isAnyName ? "" : ", and nobody is let through by it";
  for (const [index, { port, endPort = 0 }] of ports.entries())
    if (!isDnsPort(port) && endPort === 0)
      found.warning(
        `${path}/ports/${index}/port`,
        "no-dns",
        `is not 53, at which alone questions are read (of a Service it is the targetPort that counts): nothing is learnt${but}`,
      );
}

function isDnsPort(port: string): boolean {
  const read = parsePort(port);
  return read.is === "number" && read.number === 53;
}

/** Whether messages at one of its ports are read for names. */
export function readsNames({ ports = [], rules }: CiliumPortRule): boolean {
  if ((rules?.dns ?? []).length === 0) return false;
  return ports.some(({ port, protocol = "ANY" }) => isDnsPort(port) && (protocol === "ANY" || protocol === "UDP"));
}

export function checkIcmps(rules: Placed<NonNullable<AnyRule["icmps"]>[number]>, found: IssueList): void {
  for (const [{ fields }, at] of rules) {
    for (const [{ family, type }, field] of soundItems(fields, `${at}/fields`, found)) {
      if (parseIcmpType(family, type) !== undefined) continue;
      const path = `${field}/type`;
      const other = family === "IPv4" ? "IPv6" : "IPv4";
      const hint = Object.hasOwn(icmpTypes[other], type) ? `; it is one of ${other}` : "";
      found.error(path, "policy", `must be 0 to 255 or the name of a type of ${family}, is ${describe(type)}${hint}`);
    }
  }
}
