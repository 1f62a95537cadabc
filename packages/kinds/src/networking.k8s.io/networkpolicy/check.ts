import { isRecord } from "@bpfleet/base";
import { parsePrefix, renderPrefix } from "../../address/prefix.ts";
import { checkPolicyAnnotations } from "../../policy/check-annotations.ts";
import { containsPrefix } from "../../policy/contains-prefix.ts";
import { parsePort } from "../../policy/port-text.ts";
import { describe } from "../../schema/admit.ts";
import type { IssueList } from "../../schema/admit.ts";
import { recordItems, soundItems } from "../../schema/sound-items.ts";
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "./schema.ts";

/** What an API server checks of a NetworkPolicy: there is none where an object comes from a directory. */
export function checkNetworkPolicy({ metadata, spec }: NetworkPolicy, found: IssueList): void {
  checkPolicyAnnotations(metadata, found);
  if (!isRecord(spec)) return;
  for (const [{ ports, from }, at] of recordItems(spec.ingress, "/spec/ingress")) {
    checkPorts(ports, `${at}/ports`, found);
    checkPeers(from, `${at}/from`, found);
  }
  for (const [{ ports, to }, at] of recordItems(spec.egress, "/spec/egress")) {
    checkPorts(ports, `${at}/ports`, found);
    checkPeers(to, `${at}/to`, found);
  }
  const { policyTypes = [] } = spec;
  if (!found.isSound("/spec/policyTypes") || policyTypes.length === 0) return;
  for (const [type, field] of [
    ["Ingress", "ingress"],
    ["Egress", "egress"],
  ] as const)
    if (recordItems(spec[field], "").length > 0 && !policyTypes.includes(type))
      found.warning(`/spec/${field}`, "no-effect", `has no effect: ${type} is not among spec.policyTypes`);
}

function checkPorts(ports: readonly NetworkPolicyPort[] | undefined, at: string, found: IssueList): void {
  for (const [{ port, endPort }, place] of soundItems(ports, at, found)) {
    if (typeof port === "number" && (port < 1 || port > 65535))
      found.error(`${place}/port`, "policy", `must be 1 to 65535, is ${port}`);
    if (typeof port === "string" && (parsePort(port).is !== "name" || port !== port.toLowerCase()))
      found.error(`${place}/port`, "policy", `must be a number, or a name in lower case, is ${describe(port)}`);
    if (endPort === undefined) continue;
    if (typeof port !== "number") found.error(`${place}/endPort`, "policy", "needs a port that is a number");
    else if (endPort < port)
      found.error(`${place}/endPort`, "policy", `must be at least port, which is ${port}, is ${endPort}`);
  }
}

function checkPeers(peers: readonly NetworkPolicyPeer[] | undefined, at: string, found: IssueList): void {
  for (const [{ podSelector, namespaceSelector, ipBlock }, place] of recordItems(peers, at)) {
    const selects = podSelector !== undefined || namespaceSelector !== undefined;
    if (!selects && ipBlock === undefined)
      found.error(place, "policy", "must have podSelector, namespaceSelector or ipBlock");
    const isSound = found.isSound(`${place}/ipBlock`);
    if (selects && ipBlock !== undefined) found.error(`${place}/ipBlock`, "policy", "must not stand beside selectors");
    if (ipBlock === undefined || !isSound) continue;
    const whole = checkCidr(ipBlock.cidr, `${place}/ipBlock/cidr`, found);
    for (const [number, text] of (ipBlock.except ?? []).entries()) {
      const part = checkCidr(text, `${place}/ipBlock/except/${number}`, found);
      if (whole === undefined || part === undefined) continue;
      if (!containsPrefix(whole, part) || part.length === whole.length)
        found.error(`${place}/ipBlock/except/${number}`, "policy", `must lie within ${ipBlock.cidr}, is ${text}`);
    }
  }
}

function checkCidr(
  text: string,
  at: string,
  found: IssueList,
): Extract<ReturnType<typeof parsePrefix>, { ok: true }>["prefix"] | undefined {
  const read = parsePrefix(text);
  if (read.ok && text.includes("/")) {
    if (read.hadHostBits)
      found.warning(at, "host-bits", `${text} has bits set past its length; read as ${renderPrefix(read.prefix)}`);
    return read.prefix;
  }
  found.error(at, "policy", `must be an IPv4 or IPv6 CIDR, is ${describe(text)}${read.ok ? "" : `: ${read.because}`}`);
  return undefined;
}
