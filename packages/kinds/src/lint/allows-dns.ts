import type {
  LabelSource,
  Peer,
  PolicyDirection,
  PolicyRule,
  PolicySubject,
  PortMatch,
  Requirement,
} from "@bpfleet/features";
import { meetsAll } from "../policy/requirements.ts";
import type { LintView } from "./lint-view.ts";

/** Where the names of clusters are answered. */
const namespaces = ["kube-system", "openshift-dns"];

/** Labels of pods that answer, wherever they are. */
const labels: Readonly<Record<string, readonly string[]>> = {
  "k8s-app": ["kube-dns", "coredns", "node-local-dns", "nodelocaldns"],
  "app.kubernetes.io/name": ["coredns", "kube-dns", "node-local-dns"],
  "dns.operator.openshift.io/daemonset-dns": [],
};

/** Whether what the subject may reach has a server of names: rules name its own port, which need not be 53. */
export function allowsDns({ allow }: PolicyDirection, subject: PolicySubject, view: LintView): boolean {
  return allow.some(
    ({ peers, ports }) =>
      hasPort(ports, isUdp) && (peers === "any" || peers.some((peer) => mayAnswer(peer, ports, subject, view))),
  );
}

function mayAnswer(peer: Peer, ports: PolicyRule["ports"], subject: PolicySubject, view: LintView): boolean {
  if (peer.peer === "service" && namespaces.includes(peer.namespace)) return true;
  if (peer.peer !== "pods") return hasPort(ports, holdsDns);
  const { where } = peer;
  const labelled = namespacesOf(where, "namespace-label");
  const [asked, own] = [namespacesOf(where, "namespace-name"), namespacesOf(subject.where, "namespace-name")];
  if ([...asked, ...labelled].some((name) => namespaces.includes(name))) return true;
  if (asked.length === 0) return isLabelled(where) || hasPort(ports, holdsDns);
  if (!isLabelled(where) && (ports === "any" || !ports.some(namesDns))) return false;
  // In its own namespace somebody may only have forgotten to say in which one the servers are.
  if (own.length === 0 || !asked.every((name) => own.includes(name))) return true;
  return (view.findPods((pod) => meetsAll(where, pod), 1) ?? []).length > 0;
}

/** What a selector asks for by its namespaces' names, or any of their labels. */
function namespacesOf(where: readonly Requirement[], by: LabelSource): readonly string[] {
  return where.flatMap(({ on, operator, values }) => (on === by && operator === "In" ? values : []));
}

function isLabelled(where: readonly Requirement[]): boolean {
  return where.some(({ on, key, operator, values }) => {
    const known = on === "pod" ? labels[key] : undefined;
    if (known === undefined) return false;
    if (known.length === 0) return operator === "In" || operator === "Exists";
    return operator === "In" && values.some((value) => known.includes(value));
  });
}

function hasPort(ports: PolicyRule["ports"], isOne: (port: PortMatch) => boolean): boolean {
  return ports === "any" || ports.some(isOne);
}

function isUdp(port: PortMatch): boolean {
  return (port.match === "ports" || port.match === "named-port") && port.protocol === "UDP";
}

function holdsDns(port: PortMatch): boolean {
  return isUdp(port) && (port.match !== "ports" || (port.from <= 53 && port.to >= 53));
}

/** Says that names are meant, as no range does. */
function namesDns(port: PortMatch): boolean {
  if (!isUdp(port)) return false;
  return port.match === "ports" ? port.from === 53 : port.match === "named-port" && /dns|domain/.test(port.name);
}
