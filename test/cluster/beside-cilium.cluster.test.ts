import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { free } from "../kernel/two-processes.ts";
import { ClusterNode, documented } from "./cluster-node.ts";
import { startFleetCluster, until, type FleetCluster } from "./fleet-cluster.ts";
import { installCrds } from "./install-crds.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const [inList] = documented;
const daemonSets = { group: "apps", version: "v1", plural: "daemonsets", namespace: "kube-system" } as const;
const policyType = { group: "cilium.io", version: "v2", plural: "ciliumclusterwidenetworkpolicies" } as const;
const programType = {
  group: "networking.fos1.io",
  version: "v1alpha1",
  plural: "ebpfprograms",
  namespace: "default",
} as const;

const closing = new AsyncDisposableStack();
let cluster: FleetCluster;
let node: ClusterNode;

before(async () => {
  if (skip !== undefined) return;
  cluster = closing.use(await startFleetCluster());
  // As Cilium brings them.
  await installCrds(
    cluster.server,
    kinds.filter(({ group }) => group === "cilium.io"),
  );
  await cluster.admin.create<AnyObject>(daemonSets, cilium);
  closing.use(await cluster.startOperator());
  node = closing.use(await ClusterNode.make(cluster.server, { labels: { role: "edge" } }));
  await node.processes.stop("agent");
});

after(() => closing.disposeAsync());

const cilium = {
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata: { name: "cilium", namespace: "kube-system" },
  spec: {
    selector: { matchLabels: { "k8s-app": "cilium" } },
    template: {
      metadata: { labels: { "k8s-app": "cilium" } },
      spec: { containers: [{ name: "cilium-agent", image: "i" }] },
    },
  },
};

/** What no host policy allows is dropped on the node. */
const policy = {
  apiVersion: "cilium.io/v2",
  kind: "CiliumClusterwideNetworkPolicy",
  metadata: { name: "edge" },
  spec: {
    nodeSelector: { matchLabels: { role: "edge" } },
    ingress: [{ toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] }],
  },
};

interface Reported extends AnyObject {
  readonly status?: { readonly nodes?: { readonly ready: number } };
}

interface FleetSet extends AnyObject {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly {
          readonly name: string;
          readonly env?: readonly { readonly name: string; readonly value?: string }[];
        }[];
      };
    };
  };
}

async function followsNow(): Promise<string | undefined> {
  const set = await cluster.admin.find<FleetSet>({ ...daemonSets, name: "bpfd-daemon" });
  const agent = set?.spec.template.spec.containers.find(({ name }) => name === "bpfd-agent");
  return agent?.env?.find(({ name }) => name === "BPFLEET_FOLLOW_CILIUM")?.value;
}

/** Waits until the operator gives agents this, and starts one with it, as a kubelet does with a changed set. */
async function rollOut(value: "true" | "false"): Promise<void> {
  await until(`agents are told ${value}`, async () => (await followsNow()) === value || undefined);
  await node.processes.stop("agent");
  node.startAgent({ BPFLEET_FOLLOW_CILIUM: (await followsNow()) ?? "" });
}

function statusOf(type: typeof policyType | typeof programType, name: string): Promise<Reported["status"]> {
  return cluster.admin.get<Reported>({ ...type, name }).then(({ status }) => status);
}

/** Something of ours that comes later is in force and has its status: whatever came before has had its time. */
async function everythingIsSeen(name: string): Promise<void> {
  await cluster.admin.create<AnyObject>(programType, {
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFProgram",
    metadata: { name, namespace: "default" },
    spec: { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips: [inList] } } },
  });
  await node.until(`${name} is in force`, () => !node.processes.answers(inList));
  await node.until(
    `the status of ${name} says so`,
    async () => (await statusOf(programType, name))?.nodes?.ready === 1,
  );
  await cluster.admin.delete({ ...programType, name });
  await node.until(`${name} is gone`, () => node.processes.answers(inList));
}

const isEnforced = (): boolean => !node.processes.answers(free);

test("beside Cilium its policies are neither enforced by the nodes nor given a status", { skip }, async () => {
  await rollOut("false");
  assert.ok(!isEnforced());
  const made = await cluster.admin.create<AnyObject>(policyType, policy);
  await everythingIsSeen("first");
  assert.ok(!isEnforced());
  assert.equal(await node.result(policy.kind, "edge"), undefined);
  const now = await cluster.admin.get<AnyObject>({ ...policyType, name: "edge" });
  assert.equal(now.metadata.resourceVersion, made.metadata.resourceVersion, "nobody has written anything to it");
});

test("without Cilium's agents they are enforced, and the status says so", { skip }, async () => {
  await cluster.admin.delete({ ...daemonSets, name: "cilium" });
  await rollOut("true");
  await node.until("the policy is enforced", isEnforced);
  await node.until("its status says so", async () => (await statusOf(policyType, "edge"))?.nodes?.ready === 1);
});

test("when Cilium comes they are its again, also those that are in force", { skip }, async () => {
  await cluster.admin.create<AnyObject>(daemonSets, cilium);
  await rollOut("false");
  await node.until("the policy is not enforced any more", () => !isEnforced());
  await node.until("the node tells of it no more", async () => (await node.result(policy.kind, "edge")) === undefined);
  await node.until("no status of ours is left", async () => (await statusOf(policyType, "edge")) === undefined);
  await everythingIsSeen("second");
});

test("told to, they are enforced beside Cilium", { skip }, async () => {
  const data = { "bpfleet.enforce.cilium": "always" };
  const theConfig = { group: "", version: "v1", plural: "configmaps", namespace: "kube-system", name: "bpfd-config" };
  await cluster.admin.patch(theConfig, { data }, { type: "merge" });
  await rollOut("true");
  await node.until("the policy is enforced", isEnforced);
  await node.until("its status says so", async () => (await statusOf(policyType, "edge"))?.nodes?.ready === 1);
});
