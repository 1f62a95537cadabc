import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startClusterAgent, type Agent } from "@bpfleet/agent";
import { ObedientDaemon } from "@bpfleet/agent/testing";
import { startDraft, type AddressesIntent, type Feature, type PolicyFeatureIntent } from "@bpfleet/features";
import type { Inventory } from "@bpfleet/kernel";
import { fleetIndexPlace, kinds } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { nodeObject, startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";

const skip = whyNoBuild();
const core = { group: "", version: "v1" } as const;
const index = { ...core, plural: "configmaps", ...fleetIndexPlace } as const;
let cluster: FleetCluster;
let running: RunningOperator | undefined;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  for (const name of ["n1", "n2"])
    await cluster.admin.create<AnyObject>({ ...core, plural: "nodes" }, nodeObject(name));
  running = await cluster.startOperator();
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

class NodeDaemon extends ObedientDaemon {
  version() {
    return { version: "0", kernel: "0", node: "0", libbpf: "0" };
  }
  async inventory(): Promise<Inventory> {
    return { programs: [], maps: [], links: [] };
  }
}

/** Plans nothing, and keeps what it was told. */
class Told implements Feature {
  readonly name = "policy";
  readonly passReasons = [];
  readonly counterRoles = [];
  readonly all: (readonly PolicyFeatureIntent[])[] = [];

  plan(intents: readonly unknown[]): ReturnType<typeof startDraft> {
    this.all.push(intents as readonly PolicyFeatureIntent[]);
    return startDraft();
  }

  counters(): never {
    throw new Error("there is nothing to count");
  }

  get last(): readonly PolicyFeatureIntent[] {
    return this.all.at(-1) ?? [];
  }
}

async function runPod(name: string, nodeName: string, ip: string): Promise<void> {
  const ports = [{ name: "http", containerPort: 8080 }, { containerPort: 9 }];
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "shop", labels: { app: name } },
    spec: { nodeName, containers: [{ name: "c", image: "example.com/none:1", ports }] },
  };
  await cluster.admin.create<AnyObject>({ ...core, plural: "pods", namespace: "shop" }, pod);
  const path = `/api/v1/namespaces/shop/pods/${name}/status`;
  const status = { phase: "Running", podIP: ip, podIPs: [{ ip }] };
  const answer = await cluster.server.call(
    "PATCH",
    path,
    { status },
    { "content-type": "application/merge-patch+json" },
  );
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
}

test(
  "an agent follows whose addresses there are with the first policy, which is planned when it knows them",
  { skip },
  async () => {
    cluster.server.kubectl(["create", "namespace", "shop"]);
    cluster.server.kubectl(["label", "namespace", "shop", "team=sales"]);
    await runPod("web", "n1", "10.0.1.1");
    await runPod("db", "n2", "10.0.2.1");
    const slices = { group: "bpfleet.io", version: "v1alpha1", plural: "addressslices" } as const;
    await until("the operator tells of both pods", async () => {
      // A server that has just learnt a kind sends away whoever lists it.
      const { items } = await cluster.admin.list<AnyObject>(slices).catch(() => ({ items: [] }));
      return JSON.stringify(items).includes("10.0.2.1") || undefined;
    });
    await until("the operator tells which kinds there are", () =>
      cluster.admin.get<AnyObject>(index).catch(() => undefined),
    );
    const told = new Told();
    const daemon = new NodeDaemon();
    daemon.setFacts({ nodeName: "n1" });
    await using agent: Agent = await startClusterAgent({
      client: cluster.clientOf("bpfd-daemon"),
      nodeName: "n1",
      version: "0",
      kinds,
      features: [told],
      clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
      follow: { cilium: true, calico: true },
      daemon,
      lookMs: 3_600_000,
    });
    await agent.sync();
    assert.deepEqual(told.last.map(({ about }) => about).toSorted(), ["host", "workload"]);
    const spec = { podSelector: {}, policyTypes: ["Ingress"] };
    await cluster.admin.create<AnyObject>(
      { group: "networking.k8s.io", version: "v1", plural: "networkpolicies", namespace: "shop" },
      { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "p" }, spec },
    );
    const planned = await until("the policy is planned", () =>
      told.all.find((intents) => intents.some(({ about }) => about === "policy")),
    );
    const addresses = planned.filter((intent): intent is AddressesIntent => intent.about === "addresses");
    const db = addresses.find((intent) => intent.addresses.includes("10.0.2.1"));
    assert.deepEqual(
      [db?.namespace, db?.labels, db?.namespaceLabels["team"], db?.namedPorts],
      ["shop", { app: "db" }, "sales", [{ name: "http", protocol: "TCP", port: 8080 }]],
    );
    const web = planned.find((intent) => intent.about === "workload");
    assert.ok(web?.about === "workload" && web.endpoint !== undefined);
    assert.deepEqual(
      [web.addresses, web.namespaceLabels["team"], web.serviceAccount, web.namedPorts],
      [["10.0.1.1"], "sales", "default", [{ name: "http", protocol: "TCP", port: 8080 }]],
    );
    const hosts = planned.flatMap((intent) => (intent.about === "host" ? [[intent.name, intent.isThisNode]] : []));
    assert.deepEqual(hosts, [["n1", true]]);
    cluster.server.kubectl(["label", "namespace", "shop", "team=stock", "--overwrite"]);
    await until(
      "the label is known",
      () =>
        told.last.some((intent) => intent.about === "addresses" && intent.namespaceLabels["team"] === "stock") ||
        undefined,
    );

    const services = (intents: readonly PolicyFeatureIntent[]): boolean =>
      intents.some((intent) => intent.about === "service" || intent.about === "backends");
    assert.ok(!told.all.some(services), "nobody restricts what pods send");
    await cluster.admin.create<AnyObject>(
      { ...core, plural: "services", namespace: "shop" },
      { apiVersion: "v1", kind: "Service", metadata: { name: "store" }, spec: { ports: [{ name: "sql", port: 80 }] } },
    );
    await cluster.admin.create<AnyObject>(
      { group: "discovery.k8s.io", version: "v1", plural: "endpointslices", namespace: "shop" },
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: "store-1", labels: { "kubernetes.io/service-name": "store" } },
        addressType: "IPv4",
        ports: [{ name: "sql", protocol: "TCP", port: 9 }],
        endpoints: [{ addresses: ["10.0.2.1"], conditions: { ready: true } }],
      },
    );
    await cluster.admin.create<AnyObject>(
      { group: "networking.k8s.io", version: "v1", plural: "networkpolicies", namespace: "shop" },
      {
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name: "q" },
        spec: { podSelector: {}, policyTypes: ["Egress"] },
      },
    );
    const restricted = await until("the second policy is planned", () =>
      told.all.find((intents) => intents.some((intent) => intent.about === "policy" && intent.policy.ref.name === "q")),
    );
    const store = restricted.find((intent) => intent.about === "service" && intent.name === "store");
    assert.ok(store?.about === "service" && store.clusterAddresses.length > 0 && store.ports[0]?.name === "sql");
    const behind = restricted.find((intent) => intent.about === "backends" && intent.service === "store");
    assert.ok(behind?.about === "backends", "with the policy, not after it");
    assert.deepEqual([behind.backends[0]?.addresses, behind.backends[0]?.isReady], [["10.0.2.1"], true]);
  },
);
