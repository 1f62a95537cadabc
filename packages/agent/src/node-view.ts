import { canonicalJson } from "@bpfleet/base";
import type { NodeFacts } from "@bpfleet/kernel";
import { internalIpsOf, type KubeObject, type NodeView } from "@bpfleet/kinds";

/** What lowering depends on of a node. */
export type NodeIdentity = Pick<NodeFacts, "nodeName" | "labels">;

/** As Kubernetes names processors. */
const architectures: Readonly<Partial<Record<NodeJS.Architecture, string>>> = { x64: "amd64", ia32: "386" };

/** What every node says of itself, then what is measured, then what its v1 Node object says. */
export function nodeView({ nodeName, labels }: NodeIdentity, node: KubeObject | undefined): NodeView {
  return {
    name: nodeName,
    labels: {
      "kubernetes.io/hostname": nodeName,
      "kubernetes.io/os": "linux",
      "kubernetes.io/arch": architectures[process.arch] ?? process.arch,
      ...labels,
      ...node?.metadata.labels,
    },
    internalIps: node === undefined ? [] : internalIpsOf(node),
  };
}

/** Lowering gives the same on both. */
export function sameNode(a: NodeIdentity, b: NodeIdentity | undefined): boolean {
  return a.nodeName === b?.nodeName && canonicalJson(a.labels) === canonicalJson(b.labels);
}
