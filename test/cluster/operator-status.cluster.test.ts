import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { AnyObject, ApiObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import {
  makeNodeProgram,
  nodeObject,
  nodePrograms,
  resultOf,
  startFleetCluster,
  tellNodeState,
  until,
  type FleetCluster,
  type RunningOperator,
} from "./fleet-cluster.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;
let running: RunningOperator;

const nodes = { group: "", version: "v1", plural: "nodes" } as const;
const nodeStates = { group: "bpfleet.io", version: "v1alpha1", plural: "nodestates" } as const;
const programs = {
  group: "networking.fos1.io",
  version: "v1alpha1",
  plural: "ebpfprograms",
  namespace: "default",
} as const;
const configs = { group: "bpfd.io", version: "v1alpha1", plural: "bpfprogramconfigs" } as const;

/** What happens just before and just after the status of an object of this name is written. */
let around: { readonly name: string; before(): Promise<unknown>; after(): Promise<unknown> } | undefined;

/** The operator's client, with `around` at its writes. */
function heldClient(client: KubeClient): KubeClient {
  const applyStatus: KubeClient["applyStatus"] = async <T extends ApiObject>(
    ...[address, object, options]: Parameters<KubeClient["applyStatus"]>
  ) => {
    const held = around?.name === address.name ? around : undefined;
    if (held !== undefined) around = undefined;
    await held?.before();
    const answer = await client.applyStatus<T>(address, object, options);
    await held?.after();
    return answer;
  };
  return new Proxy(client, {
    get: (target, name) => {
      if (name === "applyStatus") return applyStatus;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });
}

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  running = await cluster.startOperator({ client: heldClient(cluster.clientOf("podconfigmap-controller")) });
  for (const name of ["n1", "n2", "n3"]) await cluster.admin.create(nodes, nodeObject(name));
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

interface Reported extends AnyObject {
  readonly status?: {
    readonly state?: string;
    readonly nodes?: { readonly ready: number; readonly total: number };
    readonly metrics?: { readonly packetsDropped: number };
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message: string }[];
  };
}

function makeProgram(name: string): Promise<AnyObject> {
  const object = {
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFProgram",
    metadata: { name, namespace: "default" },
    spec: { type: "xdp", interface: "eth0" },
  };
  return cluster.admin.create<AnyObject>(programs, object);
}

function makeConfig(name: string): Promise<AnyObject> {
  const spec = {
    name: "pass",
    type: "XDP",
    nodeselector: {},
    attachpoint: { networkmultiattach: { interface: "eth0", priority: 0 } },
    bytecode: "image://quay.io/bpfd-bytecode/xdp_pass:latest",
  };
  return cluster.admin.create<AnyObject>(configs, {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgramConfig",
    metadata: { name },
    spec,
  });
}

function statusThat(
  address: typeof programs | typeof configs,
  name: string,
  what: string,
  holds: (status: NonNullable<Reported["status"]>) => boolean,
): Promise<NonNullable<Reported["status"]>> {
  return until(what, async () => {
    const { status } = await cluster.admin.get<Reported>({ ...address, name });
    return status !== undefined && holds(status) ? status : undefined;
  });
}

/** What the agent says of a node's program that it can't unload. */
async function failToUnload(name: string): Promise<void> {
  const said = { type: "NotUnLoaded", status: "True", reason: "bpfdNotUnloaded", message: "m" };
  const conditions = [{ ...said, lastTransitionTime: "2026-01-01T00:00:00Z" }];
  const how = { type: "merge", subresource: "status" } as const;
  await cluster.admin.patch({ ...nodePrograms, name }, { status: { conditions } }, how);
}

function typesOf({ conditions = [] }: NonNullable<Reported["status"]>): readonly string[] {
  return conditions.map(({ type }) => type);
}

test(
  "the status of an object counts its nodes, adds up their numbers, and says which of them fail",
  { skip },
  async () => {
    const object = await makeProgram("counted");
    await tellNodeState(cluster.admin, "n1", [
      resultOf(object, "InForce", { numbers: { "/metrics/packetsDropped": 4 } }),
    ]);
    await tellNodeState(cluster.admin, "n2", [
      resultOf(object, "InForce", { numbers: { "/metrics/packetsDropped": 3 } }),
    ]);
    const status = await statusThat(
      programs,
      "counted",
      "two nodes have it in force",
      (each) => each.nodes?.ready === 2,
    );
    assert.deepEqual([status.state, status.metrics?.packetsDropped], ["Active", 7]);
    await tellNodeState(cluster.admin, "n2", [resultOf(object, "Failed")]);
    const failed = await statusThat(programs, "counted", "one of them fails", (each) => each.state === "Failed");
    assert.equal(failed.conditions?.[0]?.message, "R1 is no pointer (on 1 of 2 nodes: n2)");
    assert.deepEqual(failed.nodes, { ready: 1, total: 2 });
  },
);

test(
  "what a node last said counts no more once its kubelet is silent, and does again when it is heard",
  { skip },
  async () => {
    const object = await makeProgram("lost");
    const others = (await cluster.admin.list<AnyObject>(programs)).items.filter(
      ({ metadata }) => metadata.name !== "lost",
    );
    for (const name of ["n1", "n2"])
      await tellNodeState(
        cluster.admin,
        name,
        [...others, object].map((each) => resultOf(each, "InForce")),
      );
    await statusThat(programs, "lost", "two nodes have it in force", (each) => each.nodes?.ready === 2);
    // What the node controller does when nothing comes from a kubelet for its grace period.
    const say = (status: string): Promise<unknown> =>
      cluster.admin.patch(
        { ...nodes, name: "n2" },
        { status: { conditions: [{ type: "Ready", status, reason: "NodeStatusUnknown", message: "" }] } },
        { type: "merge", subresource: "status" },
      );
    await say("True");
    await say("Unknown");
    const lost = await statusThat(programs, "lost", "one of them is lost", (each) => each.nodes?.ready === 1);
    assert.deepEqual(lost.nodes, { ready: 1, total: 2 });
    assert.deepEqual(
      lost.conditions?.map(({ status, message }) => [status, message]),
      [["Unknown", "1 of 2 nodes; not heard from: n2"]],
    );
    await say("False");
    await statusThat(programs, "lost", "a kubelet that has trouble is heard", (each) => each.nodes?.ready === 2);
    await say("True");
    await cluster.admin.delete({ ...programs, name: "lost" });
  },
);

test("the conditions of a BpfProgramConfig come in bpfd's order and words", { skip }, async () => {
  const object = await makeConfig("words");
  await statusThat(configs, "words", "it waits", (status) => typesOf(status).includes("NotYetLoaded"));
  assert.deepEqual((await cluster.admin.get({ ...configs, name: "words" })).metadata.finalizers, [
    "bpfd.io.operator/finalizer",
  ]);
  const none: readonly object[] = [];
  const program = await cluster.admin.get<AnyObject>({ ...programs, name: "counted" });
  await tellNodeState(cluster.admin, "n1", [
    resultOf(program, "InForce"),
    resultOf(object, "Failed", { conditions: none }),
  ]);
  const error = await statusThat(
    configs,
    "words",
    "it failed",
    (status) => typesOf(status).at(-1) === "ReconcileError",
  );
  assert.equal(
    error.conditions?.at(-1)?.message,
    "bpfProgramReconciliation failed on the following bpfProgram Objects: [words-n1]",
  );
  await tellNodeState(cluster.admin, "n1", [
    resultOf(program, "InForce"),
    resultOf(object, "InForce", { conditions: none }),
  ]);
  await tellNodeState(cluster.admin, "n2", [
    resultOf(program, "InForce"),
    resultOf(object, "NotSelected", { conditions: none }),
  ]);
  const done = await statusThat(
    configs,
    "words",
    "it is done",
    (status) => typesOf(status).at(-1) === "ReconcileSuccess",
  );
  assert.deepEqual(typesOf(done), ["NotYetLoaded", "ReconcileError", "ReconcileSuccess"]);
  assert.ok(done.conditions?.every(({ status }) => status === "True"));
});

test(
  "a deleted config stays until its last node has unloaded it, and says what cannot be unloaded",
  { skip },
  async () => {
    // Longer than a label has room for.
    const name = `leaving-${"x".repeat(60)}`;
    const object = await makeConfig(name);
    await until(
      "it has its finalizer",
      async () => (await cluster.admin.get({ ...configs, name })).metadata.finalizers?.[0],
    );
    for (const node of ["n1", "n2"]) await makeNodeProgram(cluster.admin, object, node);
    await failToUnload(`${name}-n2`);
    await cluster.admin.delete({ ...configs, name });
    const error = await statusThat(
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
    const config = await makeConfig("narrowed");
    for (const node of ["n1", "n2"]) await makeNodeProgram(cluster.admin, config, node);
    await label("n1", "edge");
    await select("pool: edge");
    await cluster.admin.delete({ ...configs, name: "narrowed" });
    const says = (what: string, holds: (message: string) => boolean) =>
      statusThat(configs, "narrowed", what, ({ conditions = [] }) => conditions.some(({ message }) => holds(message)));
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
  "what is deleted and held by a finalizer of others says which nodes have it, then who holds it",
  { skip },
  async () => {
    const held = { metadata: { finalizers: ["example.com/keep"] } };
    const program = await makeProgram("kept");
    await cluster.admin.patch({ ...programs, name: "kept" }, held, { type: "merge" });
    await makeConfig("kept");
    await statusThat(configs, "kept", "it has a status", (status) => typesOf(status).length > 0);
    const both = { metadata: { finalizers: ["bpfd.io.operator/finalizer", "example.com/keep"] } };
    await cluster.admin.patch({ ...configs, name: "kept" }, both, { type: "merge" });
    await tellNodeState(cluster.admin, "n1", [resultOf(program, "InForce")]);
    for (const type of [programs, configs]) await cluster.admin.delete({ ...type, name: "kept" });
    const says = (type: typeof programs | typeof configs, text: string) =>
      statusThat(type, "kept", text, ({ conditions }) => conditions?.[0]?.message === `being deleted: ${text}`);
    await says(programs, "still on n1");
    await tellNodeState(cluster.admin, "n1", []);
    for (const type of [programs, configs]) {
      await says(type, "off all nodes; held by finalizer example.com/keep");
      await cluster.admin.patch({ ...type, name: "kept" }, { metadata: { finalizers: null } }, { type: "merge" });
    }
  },
);

test("an object that a full report does not list is counted, and keeps its state", { skip }, async () => {
  const object = await makeProgram("unlisted");
  await tellNodeState(cluster.admin, "n1", [resultOf(object, "InForce")]);
  await tellNodeState(cluster.admin, "n2", [resultOf(object, "InForce")]);
  await statusThat(programs, "unlisted", "it is in force", ({ nodes: counted }) => counted?.ready === 2);
  const objects = { total: 1, inForce: 1, waiting: 0, failed: 0, pending: 0, notSelected: 0, notServed: 0 };
  const status = { results: [], omittedResults: 1, objects };
  await cluster.admin.patch({ ...nodeStates, name: "n2" }, { status }, { type: "merge", subresource: "status" });
  const told = await statusThat(programs, "unlisted", "n2 lists it no more", (each) => each.nodes?.ready === 1);
  assert.deepEqual([told.state, told.nodes], ["Active", { ready: 1, total: 2 }]);
  assert.deepEqual(
    told.conditions?.map(({ type, message }) => [type, message]),
    [["Ready", "1 of 2 nodes; n2 has more objects than its report lists; this one is not among those in trouble"]],
  );
  await cluster.admin.delete({ ...programs, name: "unlisted" });
  const whole = { status: { omittedResults: null, objects: null } };
  await cluster.admin.patch({ ...nodeStates, name: "n2" }, whole, { type: "merge", subresource: "status" });
});

test(
  "what happens to an object while its status is on its way is looked at, also when our own write is the last to be seen",
  { skip },
  async () => {
    const object = await makeConfig("overtaken");
    await statusThat(configs, "overtaken", "it has a status", (status) => typesOf(status).length > 0);
    await makeNodeProgram(cluster.admin, object, "n1");
    await failToUnload("overtaken-n1");
    let isOvertaken = false;
    around = {
      name: "overtaken",
      before: () => cluster.admin.delete({ ...configs, name: "overtaken" }),
      // The informer hears of the deletion and of our write before our write has its answer.
      after: () => sleep(1000).then(() => (isOvertaken = true)),
    };
    await tellNodeState(cluster.admin, "n1", [resultOf(object, "Failed", { conditions: [] })]);
    await until("its failure was written", async () => (isOvertaken ? true : undefined));
    await statusThat(configs, "overtaken", "the deletion fails", (status) => typesOf(status).at(-1) === "DeleteError");
    const released = { metadata: { finalizers: null } };
    await cluster.admin.patch({ ...nodePrograms, name: "overtaken-n1" }, released, { type: "merge" });
    await until("it is gone", async () =>
      (await cluster.admin.find({ ...configs, name: "overtaken" })) === undefined ? true : undefined,
    );
  },
);

test(
  "a node that is gone holds up nothing: its objects are released, its state removed, and it is counted no more",
  { skip },
  async () => {
    const program = await makeProgram("outlives");
    const config = await makeConfig("held");
    for (const node of ["n1", "n3"]) {
      await tellNodeState(cluster.admin, node, [resultOf(program, node === "n3" ? "Failed" : "InForce")]);
      await makeNodeProgram(cluster.admin, config, node);
    }
    await statusThat(programs, "outlives", "n3 fails", ({ state }) => state === "Failed");
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

test("results of another object of the same name, or of an older generation, do not count", { skip }, async () => {
  const first = await makeProgram("twice");
  await cluster.admin.delete({ ...programs, name: "twice" });
  const second = await makeProgram("twice");
  await tellNodeState(cluster.admin, "n1", [resultOf(first, "InForce")]);
  await statusThat(
    programs,
    "twice",
    "it is not in force",
    ({ nodes: counted }) => counted?.ready === 0 && (counted?.total ?? 0) > 0,
  );
  await tellNodeState(cluster.admin, "n1", [resultOf(second, "InForce")]);
  await statusThat(programs, "twice", "n1 has it in force", ({ nodes: counted }) => counted?.ready === 1);
  await cluster.admin.patch({ ...programs, name: "twice" }, { spec: { priority: 7 } }, { type: "merge" });
  const status = await statusThat(
    programs,
    "twice",
    "the new generation is not",
    ({ nodes: counted }) => counted?.ready === 0,
  );
  assert.match(status.conditions?.[0]?.message ?? "", /not yet: n1/);
});

test("an agent of an earlier version, which tells less, counts by what it tells", { skip }, async () => {
  const object = await makeProgram("elder");
  const { uid: _uid, generation: _generation, ...told } = resultOf(object, "InForce");
  const status = { versions: { agent: "0.0.1" }, results: [{ ...told, conditions: [], numbers: {} }] };
  const head = { apiVersion: "bpfleet.io/v1alpha1", kind: "NodeState", metadata: { name: "n1" } };
  await cluster.admin.applyStatus<AnyObject>({ ...nodeStates, name: "n1" }, { ...head, status } as AnyObject, {
    fieldManager: "bpfleet-agent",
    isForced: true,
  });
  const { conditions } = await statusThat(programs, "elder", "n1 has it", ({ nodes: counted }) => counted?.ready === 1);
  assert.match(conditions?.[0]?.message ?? "", /^1 of 2 nodes; not yet: n2$/);
});

test("a policy of Cilium's kind says what became of it, where Cilium's agents do not run", { skip }, async () => {
  const policies = {
    group: "cilium.io",
    version: "v2",
    plural: "ciliumnetworkpolicies",
    namespace: "default",
  } as const;
  const policy = {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "web", namespace: "default" },
    spec: { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{}] },
  };
  const object = await until("the CRD is served", () =>
    cluster.admin.create<AnyObject>(policies, policy).catch(() => undefined),
  );
  await tellNodeState(cluster.admin, "n2", [
    resultOf(object, "NotServed", {
      conditions: [{ type: "Ready", status: "False", reason: "NotServed", message: "policies are not enforced yet" }],
    }),
  ]);
  const { conditions } = await until("it is told", async () => {
    const { status } = await cluster.admin.get<Reported>({ ...policies, name: "web" });
    return status?.conditions?.[0]?.message.includes("not enforced") === true ? status : undefined;
  });
  assert.match(conditions?.[0]?.message ?? "", /^policies are not enforced yet \(on 1 of 2 nodes: n2\)$/);
});

test("statuses are not written while nothing changes, and not by agents at all", { skip }, async () => {
  await sleep(3000);
  const versions = async (): Promise<readonly (string | undefined)[]> =>
    (await Promise.all([programs, configs].map((type) => cluster.admin.list(type)))).flatMap(({ items }) =>
      items.map(({ metadata }) => metadata.resourceVersion),
    );
  const before = await versions();
  await sleep(10_000);
  assert.deepEqual(await versions(), before);
  const { items } = await cluster.admin.list<AnyObject>(programs);
  for (const { metadata } of items) {
    const managers = (metadata.managedFields ?? []) as readonly {
      readonly manager: string;
      readonly subresource?: string;
    }[];
    assert.deepEqual(
      managers.filter(({ subresource }) => subresource === "status").map(({ manager }) => manager),
      ["bpfleet-operator"],
    );
  }
});
