import type { Peer, Policy, PolicyDirection, PolicyRule, PolicyStatement } from "@bpfleet/features";
import { meetsAll } from "../policy/requirements.ts";
import { renderPrefix } from "../address/prefix.ts";
import { renderPath } from "../yaml/places.ts";
import type { LintPod, LintView } from "./lint-view.ts";
import { findNamelessPorts } from "./named-ports.ts";
import { OwnAddressIndex } from "./own-address-index.ts";

/** Pods that a warning names. */
const told = 3;

/** What a policy does to the pods that there are, and most likely is not to. */
export function findPolicyFootGuns(policy: Policy, view: LintView): readonly string[] {
  const ofStatements = policy.statements.flatMap((statement) => [
    ...findUnjudged(statement, view),
    ...findSilenced(statement, view),
    ...findDenying(statement, view),
    ...findNamelessPorts(statement, view),
  ]);
  return [...ofStatements, ...findMissedNodes(policy, view)];
}

/** A rule that denies closes its direction, and none that allows stands above it: both are elsewhere often otherwise. */
function findDenying(statement: PolicyStatement, view: LintView): readonly string[] {
  const { subject, origin } = statement;
  return (["ingress", "egress"] as const).flatMap((side): readonly string[] => {
    const { isDefaultDeny, allow, deny } = statement[side];
    const whole = deny.find(isEverything);
    const isClosed = whole === undefined && deny.length > 0 && allow.length === 0 && isDefaultDeny;
    const isOverruled = whole !== undefined && !allow.every(isEmpty);
    if (subject.selects !== "pods" || (!isClosed && !isOverruled)) return [];
    const pods = view.findPods((pod) => pod.isHostNetwork !== true && meetsAll(subject.where, pod), Infinity) ?? [];
    if (pods.length === 0) return [];
    if (whole !== undefined)
      return [
        `${renderPath(whole.origin.path)}: denies everything of ${list(pods)}, also what a rule allows: a deny always wins`,
      ];
    const instead = `set enableDefaultDeny.${side} to false for the rest to pass`;
    return [
      `${renderPath(`${origin.path}/${side}Deny`)}: closes ${side} of ${list(pods)} for everybody, unless another policy allows; ${instead}`,
    ];
  });
}

/** CIDRs of Cilium's kinds mean the world only, and no node or pod whatever address it has. */
function findMissedNodes(policy: Policy, { ownAddresses }: LintView): readonly string[] {
  const cidrs = policy.statements.flatMap(({ ingress, egress }) => [
    ...worldOf(ingress).map((peer) => ({ peer, entities: "fromEntities" })),
    ...worldOf(egress).map((peer) => ({ peer, entities: "toEntities" })),
  ]);
  if (cidrs.length === 0) return [];
  const ofNodes = new OwnAddressIndex(ownAddresses.filter(({ isOfNode }) => isOfNode === true));
  return cidrs.flatMap(({ peer: { origin, prefix }, entities }) => {
    const [first] = ofNodes.within(prefix);
    if (first === undefined) return [];
    const what = prefix.length === 8 * prefix.bytes.length ? "" : `${renderPrefix(prefix)} does not mean `;
    const meant = `${first.address}, ${first.owner}${what === "" ? ", is not meant" : ""}`;
    return [
      `${renderPath(origin.path)}: ${what}${meant}: CIDRs never mean nodes or pods; ${entities}: [host, remote-node] does`,
    ];
  });
}

/** Whoever writes 0.0.0.0/0 means the world. */
function worldOf({ allow, deny }: PolicyDirection): readonly Extract<Peer, { readonly peer: "addresses" }>[] {
  return [...allow, ...deny].flatMap(({ peers }) =>
    (peers === "any" ? [] : peers).flatMap((peer) =>
      peer.peer === "addresses" && peer.matches === "world" && peer.prefix.length > 0 ? [peer] : [],
    ),
  );
}

function isEverything({ peers, ports }: PolicyRule): boolean {
  return ports === "any" && (peers === "any" || peers.some((peer) => peer.peer === "entity" && peer.entity === "all"));
}

/** Pods on the network of their node: nobody can tell their packets from its own. */
function findUnjudged({ subject }: PolicyStatement, view: LintView): readonly string[] {
  if (subject.selects !== "pods" || subject.where.length === 0) return [];
  const pods = view.findPods((pod) => pod.isHostNetwork === true && meetsAll(subject.where, pod), Infinity) ?? [];
  if (pods.length === 0) return [];
  return [`${renderPath(subject.origin.path)}: ${list(pods)} on the network of the node: no policy judges that`];
}

/** What may not ask for names seldom works, however much else it may reach. */
function findSilenced({ subject, egress, origin }: PolicyStatement, view: LintView): readonly string[] {
  if (subject.selects !== "pods" || !egress.isDefaultDeny || allowsDns(egress)) return [];
  // Who may reach nothing at all is meant to.
  if (egress.allow.every(isEmpty)) return [];
  const pods = view.findPods((pod) => pod.isHostNetwork !== true && meetsAll(subject.where, pod), Infinity) ?? [];
  if (pods.length === 0) return [];
  const [first, rest] = [list(pods), "cannot ask for names: no rule allows UDP port 53, unless another policy does"];
  return [`${renderPath(`${origin.path}/egress`)}: ${first} ${rest}`];
}

function isEmpty({ peers, ports }: PolicyRule): boolean {
  return peers.length === 0 || ports.length === 0;
}

function allowsDns({ allow }: PolicyDirection): boolean {
  return allow.some(
    ({ peers, ports }) =>
      (peers === "any" || peers.some(mayAnswer)) &&
      (ports === "any" ||
        ports.some((port) =>
          port.match === "ports" ? port.protocol === "UDP" && port.from <= 53 && port.to >= 53 : isNamedDns(port),
        )),
  );
}

const dnsNamespace = "kube-system";

/** Whether a server of the cluster's names may be meant: it is a pod of that namespace, or of none. */
function mayAnswer(peer: Peer): boolean {
  return (
    peer.peer !== "pods" ||
    !peer.where.some(
      ({ on, operator, values }) => on === "namespace-name" && operator === "In" && !values.includes(dnsNamespace),
    )
  );
}

function isNamedDns(port: Exclude<PolicyRule["ports"], "any">[number]): boolean {
  return port.match === "named-port" && port.protocol === "UDP";
}

function list(pods: readonly LintPod[]): string {
  const names = pods.map(({ namespace, name }) => `${namespace}/${name}`).toSorted();
  const more = names.length > told ? ` and ${names.length - told} more` : "";
  return `${names.slice(0, told).join(", ")}${more}`;
}
