import { renderRef } from "@bpfleet/base";
import {
  isWholeSpace,
  renderPieces,
  type ComparedDecision,
  type DifferentPeer,
  type HostIntent,
  type PolicyDifference,
  type PortSpan,
  type WorkloadIntent,
} from "@bpfleet/features";

/** Things of which a line tells; of more it says how many there are. */
const most = 4;

/** Which packets, and what decides of them before and after. */
export function renderDifference({ direction, pods, nodes, peers, ports, before, after }: PolicyDifference): string {
  const isOfNodes = nodes.length > 0;
  const way = direction === "ingress" ? "from" : "to";
  const isOfCluster = peers.every(({ holder }) => holder.is !== "world");
  const hint =
    isOfCluster && before.verdict !== after.verdict && !peers.every(({ pieces }) => isWholeSpace(pieces))
      ? ["      CIDRs of Cilium's are of addresses outside of the cluster: name pods by labels, nodes by entities"]
      : [];
  return [
    `${direction} of ${few(isOfNodes ? nodes.map(nameOfNode) : pods.map(nameOfPod))}, ${way} ${few(mergePeers(peers, isOfNodes))}: ${few(renderSpans(ports))}`,
    `  old: ${renderDecision(before)}`,
    `  new: ${renderDecision(after)}`,
    ...hint,
    "",
  ].join("\n");
}

function renderDecision({ verdict, reason, rule }: ComparedDecision): string {
  const what = verdict === "pass" ? "passes" : "dropped";
  if (rule !== undefined) {
    const { object, path, position } = rule.origin;
    const place = position === undefined ? "" : ` (${position.file}:${position.line})`;
    const name = path
      .slice(1)
      .replaceAll(/\/(\d+)/g, "[$1]")
      .replaceAll("/", ".");
    return `${what} by ${renderRef(object)} ${name}${place}: ${rule.text}`;
  }
  if (reason === "default_deny") return `${what}: no rule allows it`;
  return `${what}: ${reason === "allowed_by_default" ? "no rule denies it" : "no policy selects it in this direction"}`;
}

function nameOfNode(host: HostIntent): string {
  return isMadeUp(host) ? `nodes with ${textOf(host.labels)}` : `node ${host.name}`;
}

function nameOfPod(pod: WorkloadIntent): string {
  const { pod: ref, labels, namespaceLabels } = pod;
  if (!isMadeUp(pod)) return `pod ${ref.namespace}/${ref.name}`;
  const { "kubernetes.io/metadata.name": _, ...others } = namespaceLabels;
  const of = Object.keys(others).length === 0 ? "" : ` (${textOf(others)})`;
  return `pods with ${textOf(labels)} in namespace ${ref.namespace}${of}`;
}

function textOf(labels: Readonly<Record<string, string>>): string {
  const all = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return all.length === 0 ? "no such label" : all.join(",");
}

/** Those with the same addresses in one. */
function mergePeers(peers: readonly DifferentPeer[], isOfNodes: boolean): readonly string[] {
  const alike = Map.groupBy(peers, ({ pieces }) => (isWholeSpace(pieces) ? "" : few(renderPieces(pieces))));
  return [...alike].map(([addresses, all]) => {
    const names = all.map(({ holder }) =>
      holder.is === "world"
        ? "addresses outside of the cluster"
        : holder.is === "node"
          ? isMadeUp(holder.host)
            ? nameOfOtherNode(holder.host, isOfNodes)
            : `node ${holder.host.name}`
          : nameOfPod(holder.pod),
    );
    return `${few(names)}${addresses === "" ? "" : ` in ${addresses}`}`;
  });
}

/** One that was made up, as the pod or another node sees it. */
function nameOfOtherNode({ isThisNode, labels }: HostIntent, isOfNodes: boolean): string {
  if (isThisNode && !isOfNodes) return "the pod's node";
  return Object.keys(labels).length === 0 ? "other nodes" : `other nodes with ${textOf(labels)}`;
}

/** It has no place in any file. */
function isMadeUp({ origin }: Pick<WorkloadIntent, "origin">): boolean {
  return origin.position === undefined;
}

const order = ["TCP", "UDP", "SCTP", "ICMP", "ICMPv6", "IP"] as const;

function renderSpans(spans: readonly PortSpan[]): readonly string[] {
  const texts = order.flatMap((protocol) => {
    const own = spans.filter((span) => span.protocol === protocol);
    const count = own.reduce((sum, { from, to }) => sum + to - from + 1, 0);
    if (count === (protocol === "IP" ? numbersOfOthers : protocol.startsWith("ICMP") ? 256 : 65_536))
      return protocol === "IP" ? "other protocols" : protocol;
    return own.map(
      ({ from, to }) => `${protocol === "IP" ? "protocol" : protocol} ${from === to ? from : `${from}-${to}`}`,
    );
  });
  const isAll = ["TCP", "UDP", "SCTP", "other protocols"].every((text) => texts.includes(text));
  return isAll && texts.some((text) => text === "ICMP" || text === "ICMPv6") ? ["everything"] : texts;
}

/** Of 256 without those that are told by their own names. */
const numbersOfOthers = 252;

function few(items: readonly string[]): string {
  const all = [...new Set(items)];
  return all.length <= most + 1 ? all.join(", ") : `${all.slice(0, most).join(", ")} and ${all.length - most} more`;
}
