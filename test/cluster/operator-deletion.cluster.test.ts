import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import {
  makeNodeProgram,
  nodeObject,
  nodePrograms,
  nodes,
  nodeStates,
  resultOf,
  startFleetCluster,
  tellNodeState,
  until,
  type FleetCluster,
  type RunningOperator,
} from "./fleet-cluster.ts";
import { configs, failToUnload, makeConfig, makeProgram, programs, statusThat, typesOf } from "./reported.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;
let running: RunningOperator;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  running = await cluster.startOperator();
  for (const name of ["n1", "n2", "n3"]) await cluster.admin.create(nodes, nodeObject(name));
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

test(
  "a deleted config stays until its last node has unloaded it, and says what cannot be unloaded",
  { skip },
  async () => {
    // Longer than a label has room for.
    const name = `leaving-${"x".repeat(60)}`;
    const object = await makeConfig(cluster.admin, name);
    await until(
      "it has its finalizer",
      async () => (await cluster.admin.get({ ...configs, name })).metadata.finalizers?.[0],
    );
    for (const node of ["n1", "n2"]) await makeNodeProgram(cluster.admin, object, node);
    await failToUnload(cluster.admin, `${name}-n2`);
    await cluster.admin.delete({ ...configs, name });
    const error = await statusThat(
      cluster.admin,
      configs,
      name,
      "the deletion fails",
      (status) => typesOf(status).at(-1) === "DeleteError",
    );
    assert.match(
      error.conditions?.at(-1)?.message ?? "",
      /Deletion failed on the following bpfProgram Objects: \[leaving-x{60}-n2\]$/,
    );
    for (const node of ["n1", "n2"]) {
      assert.ok((await cluster.admin.find({ ...configs, name })) !== undefined);
      await cluster.admin.patch(
        { ...nodePrograms, name: `${name}-${node}` },
        { metadata: { finalizers: null } },
        { type: "merge" },
      );
    }
    await until("it is gone", async () =>
      (await cluster.admin.find({ ...configs, name })) === undefined ? true : undefined,
    );
  },
);

test(
  "a deleted config says where no agent is to run that could unload it, and goes when one may again or its finalizer is gone",
  { skip },
  async () => {
    const map = {
      group: "",
      version: "v1",
      plural: "configmaps",
      namespace: "kube-system",
      name: "bpfd-config",
    } as const;
    const select = (text: string | null) =>
      cluster.admin.patch(map, { data: { "bpfleet.node-selector": text } }, { type: "merge" });
    const label = (name: string, pool: string | null) =>
      cluster.admin.patch({ ...nodes, name }, { metadata: { labels: { pool } } }, { type: "merge" });
    const config = await makeConfig(cluster.admin, "narrowed");
    for (const node of ["n1", "n2"]) await makeNodeProgram(cluster.admin, config, node);
    await label("n1", "edge");
    await select("pool: edge");
    await cluster.admin.delete({ ...configs, name: "narrowed" });
    const says = (what: string, holds: (message: string) => boolean) =>
      statusThat(cluster.admin, configs, "narrowed", what, ({ conditions = [] }) =>
        conditions.some(({ message }) => holds(message)),
      );
    const waits = "no agent is to run on n2 (DaemonSet bpfd-daemon asks for pool=edge)";
    await says("it says where it waits", (message) => message.includes(waits) && message.endsWith("narrowed-n2"));
    await label("n2", "edge");
    await says(
      "it waits for an agent",
      (message) => message.startsWith("being deleted") && !message.includes("no agent"),
    );
    for (const node of ["n1", "n2"])
      await cluster.admin.patch(
        { ...nodePrograms, name: `narrowed-${node}` },
        { metadata: { finalizers: null } },
        { type: "merge" },
      );
    await until("it is gone", async () =>
      (await cluster.admin.find({ ...configs, name: "narrowed" })) === undefined ? true : undefined,
    );
    await select(null);
    for (const node of ["n1", "n2"]) await label(node, null);
  },
);

test(
  "a deleted config says which taint keeps agents away, not that a node is cordoned, and what lets go of a silent one",
  { skip },
  async () => {
    const map = { group: "", version: "v1", plural: "configmaps", namespace: "kube-system" } as const;
    const tolerate = (text: string | null) =>
      cluster.admin.patch(
        { ...map, name: "bpfd-config" },
        { data: { "bpfleet.tolerations": text } },
        { type: "merge" },
      );
    const taint = (name: string, spec: object) => cluster.admin.patch({ ...nodes, name }, { spec }, { type: "merge" });
    const hear = (name: string, status: string) =>
      cluster.admin.patch(
        { ...nodes, name },
        { status: { conditions: [{ type: "Ready", status, reason: "x", message: "x" }] } },
        { type: "strategic", subresource: "status" },
      );
    const lone = { ...nodes, name: "n4" };
    await cluster.admin.create(nodes, nodeObject("n4"));
    const config = await makeConfig(cluster.admin, "tainted");
    for (const node of ["n1", "n2", "n4"]) await makeNodeProgram(cluster.admin, config, node);
    await tolerate("- {key: dedicated, value: db}");
    await taint("n1", { unschedulable: true, taints: [{ key: "dedicated", value: "db", effect: "NoSchedule" }] });
    await taint("n2", { taints: [{ key: "dedicated", value: "web", effect: "NoSchedule" }] });
    await hear("n4", "Unknown");
    await cluster.admin.delete({ ...configs, name: "tainted" });
    const says = (what: string, holds: (message: string) => boolean) =>
      statusThat(cluster.admin, configs, "tainted", what, ({ conditions = [] }) =>
        conditions.some(({ message }) => message.startsWith("being deleted") && holds(message)),
      );
    const refused = "no agent is to run on n2 (taint dedicated=web:NoSchedule)";
    const silent = "waits for n4, of which the kubelet is silent: delete the Node of what does not come back";
    await says("it says where it waits", (text) => text.includes(refused) && text.endsWith(silent));
    // As while agents run that were there before the taint.
    cluster.agentOn("n2");
    const pod = { group: "", version: "v1", plural: "pods", namespace: "kube-system", name: "bpfd-daemon-n2" };
    await cluster.admin.patch(pod, { metadata: { labels: { name: "bpfd-daemon" } } }, { type: "merge" });
    await says("an agent is there", (text) => !text.includes("no agent") && text.endsWith(silent));
    await cluster.admin.delete(lone);
    await says("it waits for agents", (text) => !text.includes("n4") && !text.includes("no agent"));
    for (const node of ["n1", "n2"]) {
      await cluster.admin.patch(
        { ...nodePrograms, name: `tainted-${node}` },
        { metadata: { finalizers: null } },
        { type: "merge" },
      );
      await taint(node, { unschedulable: null, taints: null });
    }
    await until("it is gone", async () =>
      (await cluster.admin.find({ ...configs, name: "tainted" })) === undefined ? true : undefined,
    );
    await tolerate(null);
  },
);

test(
  "what is deleted and held by a finalizer of others says which nodes have it, then who holds it",
  { skip },
  async () => {
    const held = { metadata: { finalizers: ["example.com/keep"] } };
    const program = await makeProgram(cluster.admin, "kept");
    await cluster.admin.patch({ ...programs, name: "kept" }, held, { type: "merge" });
    await makeConfig(cluster.admin, "kept");
    await statusThat(cluster.admin, configs, "kept", "it has a status", (status) => typesOf(status).length > 0);
    const both = { metadata: { finalizers: ["bpfd.io.operator/finalizer", "example.com/keep"] } };
    await cluster.admin.patch({ ...configs, name: "kept" }, both, { type: "merge" });
    await tellNodeState(cluster.admin, "n1", [resultOf(program, "InForce")]);
    for (const type of [programs, configs]) await cluster.admin.delete({ ...type, name: "kept" });
    const says = (type: typeof programs | typeof configs, text: string) =>
      statusThat(
        cluster.admin,
        type,
        "kept",
        text,
        ({ conditions }) => conditions?.[0]?.message === `being deleted: ${text}`,
      );
    await says(programs, "still on n1");
    await tellNodeState(cluster.admin, "n1", []);
    for (const type of [programs, configs]) {
      await says(type, "off all nodes; held by finalizer example.com/keep");
      await cluster.admin.patch({ ...type, name: "kept" }, { metadata: { finalizers: null } }, { type: "merge" });
    }
  },
);

test(
  "a node that is gone holds up nothing: its objects are released, its state removed, and it is counted no more",
  { skip },
  async () => {
    const program = await makeProgram(cluster.admin, "outlives");
    const config = await makeConfig(cluster.admin, "held");
    for (const node of ["n1", "n3"]) {
      await tellNodeState(cluster.admin, node, [resultOf(program, node === "n3" ? "Failed" : "InForce")]);
      await makeNodeProgram(cluster.admin, config, node);
    }
    await statusThat(cluster.admin, programs, "outlives", "n3 fails", ({ state }) => state === "Failed");
    await cluster.admin.delete({ ...nodes, name: "n3" });
    await cluster.admin.delete({ ...configs, name: "held" });
    await until("its state is removed", async () =>
      (await cluster.admin.find({ ...nodeStates, name: "n3" })) === undefined ? true : undefined,
    );
    await until("its program is removed", async () =>
      (await cluster.admin.find({ ...nodePrograms, name: "held-n3" })) === undefined ? true : undefined,
    );
    assert.ok(
      (await cluster.admin.find({ ...nodePrograms, name: "held-n1" })) !== undefined,
      "n1 is there, and its agent unloads",
    );
    await statusThat(
      cluster.admin,
      programs,
      "outlives",
      "n3 is not counted",
      ({ state, nodes: counted }) => state !== "Failed" && counted?.ready === 1,
    );
    await cluster.admin.patch(
      { ...nodePrograms, name: "held-n1" },
      { metadata: { finalizers: null } },
      { type: "merge" },
    );
    await until("the config is gone", async () =>
      (await cluster.admin.find({ ...configs, name: "held" })) === undefined ? true : undefined,
    );
  },
);

test(
  "a program of no node that is known, which somebody made by hand, goes as soon as it is deleted",
  { skip },
  async () => {
    const name = "by-hand";
    const metadata = { name, finalizers: ["bpfd.io.agent/finalizer"] };
    const byHand = { apiVersion: "bpfd.io/v1alpha1", kind: "BpfProgram", metadata, spec: { programs: {} } };
    await cluster.admin.create<AnyObject>(nodePrograms, byHand);
    await cluster.admin.delete({ ...nodePrograms, name });
    await until("it is gone", async () =>
      (await cluster.admin.find({ ...nodePrograms, name })) === undefined ? true : undefined,
    );
  },
);
