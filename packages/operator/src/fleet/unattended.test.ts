import assert from "node:assert/strict";
import { test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import type { NodeProgramHeader } from "../nodes/node-programs.ts";
import type { KnownNode } from "../nodes/node-register.ts";
import { tellUnattended, whyNoAgent } from "./unattended.ts";

function node(name: string, labels: Readonly<Record<string, string>>): KnownNode {
  return { apiVersion: "v1", kind: "Node", metadata: { name, labels }, addresses: [], isLost: false };
}

function program(of: string): NodeProgramHeader {
  const [ownerUid, lastCondition] = [undefined, undefined];
  const metadata = { name: `held-${of}` };
  return {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgram",
    metadata,
    owner: "held",
    ownerUid,
    node: of,
    lastCondition,
  };
}

const set: AnyObject = {
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata: { name: "bpfd-daemon" },
  spec: { template: { spec: { nodeSelector: { "kubernetes.io/os": "linux", pool: "edge" } } } },
};
const [meant, other] = [
  node("a", { "kubernetes.io/os": "linux", pool: "edge" }),
  node("b", { "kubernetes.io/os": "linux", pool: "core" }),
];
const nodes = {
  has: (name: string) => nodes.find(name) !== undefined,
  find: (name: string) => [meant, other].find(({ metadata }) => metadata.name === name),
  list: () => [meant, other],
};

test("whyNoAgent names the label by which a DaemonSet does not mean a node", () => {
  assert.equal(whyNoAgent(set, meant), undefined);
  assert.equal(whyNoAgent(set, other), "DaemonSet bpfd-daemon asks for pool=edge");
  assert.equal(whyNoAgent(undefined, meant), "there is no DaemonSet bpfd-daemon");
});

test("tellUnattended names nodes that are there and not meant, with what helps, and no others", () => {
  assert.equal(tellUnattended([program("a"), program("gone")], nodes, set), undefined);
  assert.equal(
    tellUnattended([program("a"), program("b")], nodes, set),
    "no agent is to run on b (DaemonSet bpfd-daemon asks for pool=edge), so nobody unloads it there: have ConfigMap bpfd-config mean these nodes until it is gone, or run `ebpfctl cleanup` there and remove the finalizers of held-b",
  );
});
