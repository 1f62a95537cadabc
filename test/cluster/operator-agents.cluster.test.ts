import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { renderTime } from "@bpfleet/base";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import {
  nodeObject,
  nodes,
  nodeStates,
  resultOf,
  startFleetCluster,
  tellNodeState,
  until,
  type FleetCluster,
  type RunningOperator,
} from "./fleet-cluster.ts";
import { programs } from "./reported.ts";

const skip = whyNoBuild();
const graceMs = 2000;
let cluster: FleetCluster;
let running: RunningOperator;

const pods = { group: "", version: "v1", plural: "pods", namespace: "kube-system" } as const;
const theSet = { group: "apps", version: "v1", plural: "daemonsets", namespace: "kube-system", name: "bpfd-daemon" };

interface Told extends AnyObject {
  readonly status?: {
    readonly nodes?: { readonly ready: number; readonly total: number };
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
    }[];
  };
}

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  running = await cluster.startOperator({ agentGraceMs: graceMs });
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/** As the DaemonSet's controller and a kubelet make it. */
async function makePod(node: string): Promise<void> {
  const metadata = { name: `bpfd-daemon-${node}`, namespace: "kube-system", labels: { name: "bpfd-daemon" } };
  await cluster.admin.create<AnyObject>(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata,
    spec: {
      nodeName: node,
      automountServiceAccountToken: false,
      serviceAccountName: "bpfd-daemon",
      containers: [{ name: "bpfd-agent", image: "i" }],
    },
  });
  await setReady(node, true);
}

function setReady(node: string, ready: boolean): Promise<unknown> {
  const status = { name: "bpfd-agent", ready, restartCount: 0, image: "i", imageID: "i" };
  const patch = { status: { phase: "Running", containerStatuses: [status] } };
  return cluster.admin.patch({ ...pods, name: `bpfd-daemon-${node}` }, patch, { type: "merge", subresource: "status" });
}

/** As an agent writes it: its status, whole. */
async function agentSays(node: string, isReady: boolean): Promise<void> {
  await until(`the agent of ${node} writes`, async () => {
    const live = await cluster.admin.get<AnyObject>({ ...nodeStates, name: node });
    const now = renderTime(Date.now() + Math.random() * 1e6);
    const [status, reason] = isReady ? ["True", "Ready"] : ["False", "NotSynced"];
    const conditions = [{ type: "Ready", status, reason, message: "as it says", lastTransitionTime: now }];
    const body = { ...live, status: { ...(live["status"] as object), observedAt: now, conditions } };
    const { name } = live.metadata;
    return cluster.admin
      .updateStatus<AnyObject>({ ...nodeStates, name }, body, { fieldManager: "bpfleet-agent" })
      .catch(() => undefined);
  });
}

function saidOf(node: string): Promise<readonly string[]> {
  return cluster.admin
    .get<Told>({ ...nodeStates, name: node })
    .then(({ status }) => status?.conditions?.map((each) => `${each.type} ${each.status} ${each.reason}`) ?? []);
}

function nodeSays(node: string, ...wanted: readonly string[]): Promise<unknown> {
  return until(`${node} says ${wanted.join(", ")}`, async () => {
    const said = await saidOf(node);
    return said.toSorted().join() === wanted.toSorted().join() ? said : undefined;
  });
}

function objectSays(status: string, ready: number): Promise<NonNullable<Told["status"]>> {
  return until(`the object is ${status} on ${ready} nodes`, async () => {
    const { status: now } = await cluster.admin.get<Told>({ ...programs, name: "kept" });
    return now?.nodes?.ready === ready && now.conditions?.[0]?.status === status ? now : undefined;
  });
}

function writesOf(node: string): number {
  return running.log.filter(({ message }) => message.startsWith(`patch NodeState ${node}`)).length;
}

test("a node whose agent is gone is not said to be ready, and is again when it is back", { skip }, async () => {
  const object = await cluster.admin.create<AnyObject>(programs, {
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFProgram",
    metadata: { name: "kept", namespace: "default" },
    spec: { type: "xdp", interface: "eth0" },
  });
  for (const name of ["n1", "n2"]) {
    await cluster.admin.create(nodes, nodeObject(name));
    await makePod(name);
    await tellNodeState(cluster.admin, name, [resultOf(object, "InForce")]);
    await agentSays(name, true);
  }
  await until("there is a DaemonSet", () => cluster.admin.find(theSet));
  await cluster.admin.patch(
    theSet,
    {
      status: {
        observedGeneration: 1,
        currentNumberScheduled: 2,
        desiredNumberScheduled: 2,
        numberMisscheduled: 0,
        numberReady: 2,
      },
    },
    { type: "merge", subresource: "status" },
  );
  await objectSays("True", 2);
  // However long an agent that is ready has nothing to say.
  await sleep(2 * graceMs);
  assert.deepEqual(await saidOf("n2"), ["Ready True Ready"]);

  await cluster.admin.delete({ ...pods, name: "bpfd-daemon-n2" }, { graceSeconds: 0 });
  await nodeSays("n2", "Ready Unknown AgentGone", "LastTold True Ready");
  const lost = await objectSays("Unknown", 1);
  assert.deepEqual(lost.conditions?.[0]?.reason, "NodesLost");
  assert.match(lost.conditions?.[0]?.message ?? "", /not heard from: n2$/);
  await sleep(2 * graceMs);
  assert.deepEqual([writesOf("n1"), writesOf("n2")], [0, 1], "it is said once");

  // It has nothing new to tell.
  await makePod("n2");
  await nodeSays("n2", "Ready True Ready");
  await objectSays("True", 2);

  await setReady("n2", false);
  await nodeSays("n2", "Ready Unknown AgentGone", "LastTold True Ready");
  await agentSays("n2", false);
  await nodeSays("n2", "Ready False NotSynced");
  await nodeSays("n2", "Ready Unknown AgentGone", "LastTold False NotSynced");
  await setReady("n2", true);
  await nodeSays("n2", "Ready False NotSynced");
});

test("a node whose kubelet is silent is not said to be ready, and is again when it is heard", { skip }, async () => {
  const say = (status: string): Promise<unknown> =>
    cluster.admin.patch(
      { ...nodes, name: "n1" },
      { status: { conditions: [{ type: "Ready", status, reason: "NodeStatusUnknown", message: "" }] } },
      { type: "merge", subresource: "status" },
    );
  await say("Unknown");
  await nodeSays("n1", "Ready Unknown NodeLost", "LastTold True Ready");
  await objectSays("Unknown", 1);
  await say("True");
  await nodeSays("n1", "Ready True Ready");
  await objectSays("True", 2);
});
