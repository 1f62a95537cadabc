import assert from "node:assert/strict";
import { test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import type { NodeProgramHeader } from "../nodes/node-programs.ts";
import type { KnownNode } from "../nodes/node-register.ts";
import { tellUnattended, whyNoAgent } from "./unattended.ts";

function node(
  name: string,
  labels: Readonly<Record<string, string>>,
  more: Partial<Pick<KnownNode, "taints" | "isLost">> = {},
): KnownNode {
  const metadata = { name, labels };
  return { apiVersion: "v1", kind: "Node", metadata, addresses: [], taints: [], isLost: false, ...more };
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
  spec: {
    template: {
      spec: {
        nodeSelector: { "kubernetes.io/os": "linux", pool: "edge" },
        tolerations: [{ key: "dedicated", operator: "Equal", value: "db" }],
      },
    },
  },
};
const edge = { "kubernetes.io/os": "linux", pool: "edge" };
const [meant, other] = [node("a", edge), node("b", { ...edge, pool: "core" })];
const taint = { key: "dedicated", value: "web", effect: "NoSchedule" };
function register(...all: readonly KnownNode[]): Parameters<typeof tellUnattended>[1] {
  const find = (name: string): KnownNode | undefined => all.find(({ metadata }) => metadata.name === name);
  return { find, has: (name) => find(name) !== undefined, list: () => all };
}

test("whyNoAgent names the label by which a DaemonSet does not mean a node", () => {
  assert.equal(whyNoAgent(set, meant, false), undefined);
  assert.equal(whyNoAgent(set, other, true)?.why, "DaemonSet bpfd-daemon asks for pool=edge");
  assert.equal(whyNoAgent(undefined, meant, true)?.why, "there is no DaemonSet bpfd-daemon");
});

test("whyNoAgent names the taint that keeps agents away, where none is there from before it", () => {
  const tainted = node("c", edge, { taints: [{ ...taint, value: "db" }, taint] });
  assert.deepEqual(whyNoAgent(set, tainted, false), { cause: "tolerated", why: "taint dedicated=web:NoSchedule" });
  assert.equal(whyNoAgent(set, tainted, true), undefined);
  const emptied = node("d", edge, { taints: [{ key: "out", effect: "NoExecute" }] });
  assert.equal(whyNoAgent(set, emptied, true)?.why, "taint out:NoExecute");
  const cordoned = node("e", edge, { taints: [{ key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" }] });
  assert.equal(whyNoAgent(set, cordoned, false), undefined);
});

test("tellUnattended names nodes that are there and not meant, with what helps, and no others", () => {
  const nodes = register(meant, other);
  assert.equal(
    tellUnattended([program("a"), program("gone")], nodes, set, () => true),
    undefined,
  );
  assert.equal(
    tellUnattended([program("a"), program("b")], nodes, set, () => true),
    "no agent is to run on b (DaemonSet bpfd-daemon asks for pool=edge), so nobody unloads it there: have ConfigMap bpfd-config mean these nodes until it is gone, or run `ebpfctl cleanup` there and remove the finalizers of held-b",
  );
});

test("tellUnattended gives each node its own reason, and says of silent ones what lets go of them", () => {
  const silent = ["s", "t"].map((name) => node(name, edge, { isLost: true, taints: [taint] }));
  const nodes = register(meant, other, node("c", edge, { taints: [taint] }), ...silent);
  const made = ["a", "b", "c"].map(program);
  const waits = "waits for s, t, of which the kubelet is silent: delete the Node of what does not come back";
  assert.equal(
    tellUnattended(["s", "t"].map(program), nodes, set, () => false),
    waits,
  );
  assert.equal(
    tellUnattended([...made, program("s"), program("t")], nodes, set, () => false),
    `no agent is to run on b (DaemonSet bpfd-daemon asks for pool=edge), c (taint dedicated=web:NoSchedule), so nobody unloads it there: have ConfigMap bpfd-config mean and tolerate these nodes until it is gone, or run \`ebpfctl cleanup\` there and remove the finalizers of held-b, held-c; ${waits}`,
  );
});
