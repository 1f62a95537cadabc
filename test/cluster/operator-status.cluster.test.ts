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
  nodes,
  nodeStates,
  resultOf,
  startFleetCluster,
  tellNodeState,
  until,
  type FleetCluster,
  type RunningOperator,
} from "./fleet-cluster.ts";
import {
  configs,
  failToUnload,
  makeConfig,
  makeProgram,
  programs,
  statusThat,
  typesOf,
  type Reported,
} from "./reported.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;
let running: RunningOperator;

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

test(
  "the status of an object counts its nodes, adds up their numbers, and says which of them fail",
  { skip },
  async () => {
    const object = await makeProgram(cluster.admin, "counted");
    await tellNodeState(cluster.admin, "n1", [
      resultOf(object, "InForce", { numbers: { "/metrics/packetsDropped": 4 } }),
    ]);
    await tellNodeState(cluster.admin, "n2", [
      resultOf(object, "InForce", { numbers: { "/metrics/packetsDropped": 3 } }),
    ]);
    const status = await statusThat(
      cluster.admin,
      programs,
      "counted",
      "two nodes have it in force",
      (each) => each.nodes?.ready === 2,
    );
    assert.deepEqual([status.state, status.metrics?.packetsDropped], ["Active", 7]);
    await tellNodeState(cluster.admin, "n2", [resultOf(object, "Failed")]);
    const failed = await statusThat(
      cluster.admin,
      programs,
      "counted",
      "one of them fails",
      (each) => each.state === "Failed",
    );
    assert.equal(failed.conditions?.[0]?.message, "R1 is no pointer (on 1 of 2 nodes: n2)");
    assert.deepEqual(failed.nodes, { ready: 1, total: 2 });
  },
);

test(
  "what a node last said counts no more once its kubelet is silent, and does again when it is heard",
  { skip },
  async () => {
    const object = await makeProgram(cluster.admin, "lost");
    const others = (await cluster.admin.list<AnyObject>(programs)).items.filter(
      ({ metadata }) => metadata.name !== "lost",
    );
    for (const name of ["n1", "n2"])
      await tellNodeState(
        cluster.admin,
        name,
        [...others, object].map((each) => resultOf(each, "InForce")),
      );
    await statusThat(cluster.admin, programs, "lost", "two nodes have it in force", (each) => each.nodes?.ready === 2);
    // What the node controller does when nothing comes from a kubelet for its grace period.
    const say = (status: string): Promise<unknown> =>
      cluster.admin.patch(
        { ...nodes, name: "n2" },
        { status: { conditions: [{ type: "Ready", status, reason: "NodeStatusUnknown", message: "" }] } },
        { type: "merge", subresource: "status" },
      );
    await say("True");
    await say("Unknown");
    const lost = await statusThat(
      cluster.admin,
      programs,
      "lost",
      "one of them is lost",
      (each) => each.nodes?.ready === 1,
    );
    assert.deepEqual(lost.nodes, { ready: 1, total: 2 });
    assert.deepEqual(
      lost.conditions?.map(({ status, message }) => [status, message]),
      [["Unknown", "1 of 2 nodes; not heard from: n2"]],
    );
    await say("False");
    await statusThat(
      cluster.admin,
      programs,
      "lost",
      "a kubelet that has trouble is heard",
      (each) => each.nodes?.ready === 2,
    );
    await say("True");
    await cluster.admin.delete({ ...programs, name: "lost" });
  },
);

test("the conditions of a BpfProgramConfig come in bpfd's order and words", { skip }, async () => {
  const object = await makeConfig(cluster.admin, "words");
  await statusThat(cluster.admin, configs, "words", "it waits", (status) => typesOf(status).includes("NotYetLoaded"));
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
    cluster.admin,
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
    cluster.admin,
    configs,
    "words",
    "it is done",
    (status) => typesOf(status).at(-1) === "ReconcileSuccess",
  );
  assert.deepEqual(typesOf(done), ["NotYetLoaded", "ReconcileError", "ReconcileSuccess"]);
  assert.ok(done.conditions?.every(({ status }) => status === "True"));
});

test("an object that a full report does not list is counted, and keeps its state", { skip }, async () => {
  const object = await makeProgram(cluster.admin, "unlisted");
  await tellNodeState(cluster.admin, "n1", [resultOf(object, "InForce")]);
  await tellNodeState(cluster.admin, "n2", [resultOf(object, "InForce")]);
  await statusThat(cluster.admin, programs, "unlisted", "it is in force", ({ nodes: counted }) => counted?.ready === 2);
  const objects = { total: 1, inForce: 1, waiting: 0, failed: 0, pending: 0, notSelected: 0, notServed: 0 };
  const status = { results: [], omittedResults: 1, objects };
  await cluster.admin.patch({ ...nodeStates, name: "n2" }, { status }, { type: "merge", subresource: "status" });
  const told = await statusThat(
    cluster.admin,
    programs,
    "unlisted",
    "n2 lists it no more",
    (each) => each.nodes?.ready === 1,
  );
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
    const object = await makeConfig(cluster.admin, "overtaken");
    await statusThat(cluster.admin, configs, "overtaken", "it has a status", (status) => typesOf(status).length > 0);
    await makeNodeProgram(cluster.admin, object, "n1");
    await failToUnload(cluster.admin, "overtaken-n1");
    let isOvertaken = false;
    around = {
      name: "overtaken",
      before: () => cluster.admin.delete({ ...configs, name: "overtaken" }),
      // The informer hears of the deletion and of our write before our write has its answer.
      after: () => sleep(1000).then(() => (isOvertaken = true)),
    };
    await tellNodeState(cluster.admin, "n1", [resultOf(object, "Failed", { conditions: [] })]);
    await until("its failure was written", async () => (isOvertaken ? true : undefined));
    await statusThat(
      cluster.admin,
      configs,
      "overtaken",
      "the deletion fails",
      (status) => typesOf(status).at(-1) === "DeleteError",
    );
    const released = { metadata: { finalizers: null } };
    await cluster.admin.patch({ ...nodePrograms, name: "overtaken-n1" }, released, { type: "merge" });
    await until("it is gone", async () =>
      (await cluster.admin.find({ ...configs, name: "overtaken" })) === undefined ? true : undefined,
    );
  },
);

test("results of another object of the same name, or of an older generation, do not count", { skip }, async () => {
  const first = await makeProgram(cluster.admin, "twice");
  await cluster.admin.delete({ ...programs, name: "twice" });
  const second = await makeProgram(cluster.admin, "twice");
  await tellNodeState(cluster.admin, "n1", [resultOf(first, "InForce")]);
  await statusThat(
    cluster.admin,
    programs,
    "twice",
    "it is not in force",
    ({ nodes: counted }) => counted?.ready === 0 && (counted?.total ?? 0) > 0,
  );
  await tellNodeState(cluster.admin, "n1", [resultOf(second, "InForce")]);
  await statusThat(
    cluster.admin,
    programs,
    "twice",
    "n1 has it in force",
    ({ nodes: counted }) => counted?.ready === 1,
  );
  await cluster.admin.patch({ ...programs, name: "twice" }, { spec: { priority: 7 } }, { type: "merge" });
  const status = await statusThat(
    cluster.admin,
    programs,
    "twice",
    "the new generation is not",
    ({ nodes: counted }) => counted?.ready === 0,
  );
  assert.match(status.conditions?.[0]?.message ?? "", /not yet: n1/);
});

test("an agent of an earlier version, which tells less, counts by what it tells", { skip }, async () => {
  const object = await makeProgram(cluster.admin, "elder");
  const { uid: _uid, generation: _generation, ...told } = resultOf(object, "InForce");
  const status = { versions: { agent: "0.0.1" }, results: [{ ...told, conditions: [], numbers: {} }] };
  const head = { apiVersion: "bpfleet.io/v1alpha1", kind: "NodeState", metadata: { name: "n1" } };
  await cluster.admin.applyStatus<AnyObject>({ ...nodeStates, name: "n1" }, { ...head, status } as AnyObject, {
    fieldManager: "bpfleet-agent",
    isForced: true,
  });
  const { conditions } = await statusThat(
    cluster.admin,
    programs,
    "elder",
    "n1 has it",
    ({ nodes: counted }) => counted?.ready === 1,
  );
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
