import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { readAddresses, type AddressSlice } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import {
  nodeObject,
  nodes,
  resultOf,
  startFleetCluster,
  tellNodeState,
  until,
  type FleetCluster,
  type RunningOperator,
} from "./fleet-cluster.ts";
import { programs } from "./reported.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;
let running: RunningOperator;

const inSystem = "kube-system";
const crds = { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" } as const;
const secrets = { group: "", version: "v1", plural: "secrets", namespace: inSystem } as const;
const pods = { group: "", version: "v1", plural: "pods", namespace: "default" } as const;
const slices = { group: "bpfleet.io", version: "v1alpha1", plural: "addressslices" } as const;
const daemonSets = { group: "apps", version: "v1", plural: "daemonsets", namespace: inSystem } as const;
const theSet = { ...daemonSets, name: "bpfd-daemon" } as const;
const theConfig = { group: "", version: "v1", plural: "configmaps", namespace: inSystem, name: "bpfd-config" } as const;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  // Somebody else's, from before.
  await cluster.admin.create<AnyObject>(crds, foreignCrd("ciliumnetworkpolicies", "CiliumNetworkPolicy"));
  running = await cluster.startOperator({ certificates: { everyMs: 500, leafDays: 1806 / 86_400, overlapMs: 2000 } });
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

interface Told {
  readonly state?: string;
  readonly nodes?: object;
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
}

function toldOf(object: AnyObject): Told {
  return object["status"] ?? {};
}

function foreignCrd(plural: string, kind: string): AnyObject {
  const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.cilium.io` },
    spec: {
      group: "cilium.io",
      scope: "Namespaced",
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [{ name: "v2", served: true, storage: true, schema }],
    },
  };
}

test(
  "CRDs of Cilium and Calico are installed where they are absent, and those of others are left alone",
  { skip },
  async () => {
    const wide = { ...crds, name: "ciliumclusterwidenetworkpolicies.cilium.io" };
    const made = await until("there is one", () => cluster.admin.find<AnyObject>(wide));
    assert.equal(made.metadata.labels?.["app.kubernetes.io/managed-by"], "bpfleet-operator");
    await until("there is one", () =>
      cluster.admin.find<AnyObject>({ ...crds, name: "felixconfigurations.crd.projectcalico.org" }),
    );
    const theirs = await cluster.admin.get<AnyObject>({ ...crds, name: "ciliumnetworkpolicies.cilium.io" });
    assert.equal(theirs.metadata.labels, undefined);
    assert.match(JSON.stringify(theirs["spec"]), /preserve-unknown-fields":true/);
    await cluster.admin.delete(wide);
    await until("ours is back", async () => {
      const now = await cluster.admin.find<AnyObject>(wide);
      return now !== undefined && now.metadata.uid !== made.metadata.uid ? true : undefined;
    });
  },
);

for (const [owner, set, variable, key] of [
  ["Cilium", "cilium", "BPFLEET_FOLLOW_CILIUM", "bpfleet.enforce.cilium"],
  ["Calico", "calico-node", "BPFLEET_FOLLOW_CALICO", "bpfleet.enforce.calico"],
] as const)
  test(
    `agents are told not to follow ${owner}'s kinds where its own agents run, unless the ConfigMap says so`,
    { skip },
    async () => {
      const follows = (value: string): Promise<true> =>
        until(`agents are told ${value}`, async () => {
          const found = await cluster.admin.find<AnyObject>(theSet);
          return JSON.stringify(found).includes(`{"name":"${variable}","value":"${value}"}`) ? true : undefined;
        });
      await follows("true");
      const template = { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } };
      await cluster.admin.create<AnyObject>(
        { ...daemonSets, namespace: "default" },
        {
          apiVersion: "apps/v1",
          kind: "DaemonSet",
          metadata: { name: set, namespace: "default" },
          spec: { selector: { matchLabels: { a: "b" } }, template },
        },
      );
      await follows("false");
      await cluster.admin.patch(theConfig, { data: { [key]: "always" } }, { type: "merge" });
      await follows("true");
    },
  );

test(
  "certificates are replaced before they end, and the authority of both is trusted meanwhile",
  { skip },
  async () => {
    const certificateOf = async (
      name: string,
    ): Promise<{ readonly leaf: X509Certificate; readonly bundle: string }> => {
      const { data } = (await cluster.admin.get({ ...secrets, name })) as unknown as {
        readonly data: Readonly<Record<string, string>>;
      };
      const text = (key: string): string => Buffer.from(data[key] ?? "", "base64").toString();
      return { leaf: new X509Certificate(text("tls.crt")), bundle: text("ca.crt") };
    };
    const { leaf: first, bundle } = await until("there is one", () =>
      certificateOf("bpfleet-daemon-tls").catch(() => undefined),
    );
    assert.equal(first.subject, "CN=bpfd");
    assert.match(first.subjectAltName ?? "", /URI:bpfleet:\/\/daemon/);
    const next = await until("there is another", async () => {
      const { leaf } = await certificateOf("bpfleet-daemon-tls");
      return leaf.serialNumber === first.serialNumber ? undefined : leaf;
    });
    assert.ok(next.validToDate > first.validToDate && first.validToDate.getTime() > Date.now());
    assert.ok(next.verify(new X509Certificate(bundle).publicKey));
    const agent = await certificateOf("bpfleet-agent-tls");
    assert.equal(agent.bundle, bundle);
    // The authority's own Secret goes: it is trusted, and what it signed is good, until all can know the next one.
    await cluster.admin.delete({ ...secrets, name: "bpfleet-ca" });
    const both = await until("another authority is trusted", async () => {
      const now = await certificateOf("bpfleet-agent-tls");
      return now.bundle === bundle ? undefined : now;
    });
    assert.ok(both.bundle.startsWith(bundle) && both.bundle.length > bundle.length);
    assert.ok(both.leaf.verify(new X509Certificate(bundle).publicKey), "what signs is trusted by those who read late");
    const renewed = await until("another authority signs", async () => {
      const now = await certificateOf("bpfleet-agent-tls");
      return now.leaf.verify(new X509Certificate(bundle).publicKey) ? undefined : now;
    });
    assert.ok(renewed.bundle.includes(bundle), "the one before is trusted a while longer");
    const last = await until("the one before is forgotten", async () => {
      const now = await certificateOf("bpfleet-agent-tls");
      return now.bundle.includes(bundle) ? undefined : now;
    });
    assert.ok(last.leaf.verify(new X509Certificate(last.bundle).publicKey));
  },
);

test(
  "addresses of pods and nodes are published in few slices, and only those that change are written",
  { skip },
  async () => {
    const podOf = (index: number): AnyObject => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: `p${index}`, namespace: "default", labels: { app: `a${index % 5}` } },
      spec: {
        nodeName: "n1",
        serviceAccountName: "default",
        automountServiceAccountToken: false,
        containers: [{ name: "c", image: "i", ports: [{ name: "http", containerPort: 80 }] }],
      },
    });
    await cluster.admin.create<AnyObject>(nodes, nodeObject("n1"));
    await cluster.admin.patch(
      { ...nodes, name: "n1" },
      { status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] } },
      { type: "merge", subresource: "status" },
    );
    const count = 250;
    for (let index = 0; index < count; index++) {
      await cluster.admin.create<AnyObject>(pods, podOf(index));
      const status = {
        phase: "Running",
        podIP: `10.0.${index >> 7}.${index & 127}`,
        podIPs: [{ ip: `10.0.${index >> 7}.${index & 127}` }],
      };
      await cluster.admin.patch({ ...pods, name: `p${index}` }, { status }, { type: "merge", subresource: "status" });
    }
    const read = async (): Promise<{ items: readonly AddressSlice[]; known: ReturnType<typeof readAddresses> }> => {
      const { items } = await cluster.admin.list<AnyObject>(slices);
      return { items: items as unknown as AddressSlice[], known: readAddresses(items as unknown as AddressSlice[]) };
    };
    const { items, known } = await until("all addresses are known", async () => {
      const now = await read();
      return now.known.size === count + 1 ? now : undefined;
    });
    assert.equal(items.length, Math.ceil(count / 100) + 1);
    assert.deepEqual(known.get("192.0.2.1")?.node, "n1");
    assert.deepEqual(known.get("10.0.1.5")?.set, {
      labels: { app: `a${(128 + 5) % 5}` },
      serviceAccount: "default",
      ports: [{ name: "http", protocol: "TCP", port: 80 }],
    });
    await sleep(2500);
    const versions = new Map((await read()).items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
    await cluster.admin.delete({ ...pods, name: "p7" }, { graceSeconds: 0 });
    const changed = await until("one is gone", async () => {
      const now = await read();
      return now.known.has("10.0.0.7") ? undefined : now;
    });
    assert.equal(
      changed.items.filter(({ metadata }) => versions.get(metadata.name) !== metadata.resourceVersion).length,
      1,
    );
  },
);

test("the operator goes on when its API server is killed and comes back", { skip }, async () => {
  await cluster.server.kill();
  await sleep(3000);
  await cluster.server.restart();
  await cluster.admin.delete(theSet);
  await until("the DaemonSet is back", async () => {
    const set = await cluster.admin.find<AnyObject>(theSet).catch(() => undefined);
    return set === undefined ? undefined : true;
  });
  assert.ok(running.operator.isLeader);
});

test(
  "undeploy cleans every node that there is, says of which it could not, and leaves nothing that would wait",
  { skip },
  async () => {
    const config = { group: "bpfd.io", version: "v1alpha1", plural: "bpfprogramconfigs", name: "stays" } as const;
    const spec = {
      name: "pass",
      type: "XDP",
      nodeselector: {},
      attachpoint: { networkmultiattach: { interface: "eth0", priority: 0 } },
      bytecode: "image://quay.io/x/y:z",
    };
    await cluster.admin.create<AnyObject>(config, {
      apiVersion: "bpfd.io/v1alpha1",
      kind: "BpfProgramConfig",
      metadata: { name: "stays" },
      spec,
    });
    await until("it has its finalizer", async () => (await cluster.admin.get(config)).metadata.finalizers?.[0]);
    const program = await cluster.admin.create<AnyObject>(programs, {
      apiVersion: "networking.fos1.io/v1alpha1",
      kind: "EBPFProgram",
      metadata: { name: "stays", namespace: "default" },
      spec: { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips: ["192.0.2.9"] } } },
    });
    await tellNodeState(cluster.admin, "n1", [
      resultOf(program, "InForce"),
      resultOf(await cluster.admin.get(config), "InForce"),
    ]);
    for (const [place, type] of [
      [{ ...programs, name: "stays" }, "Ready"],
      [config, "ReconcileSuccess"],
    ] as const)
      await until(`${place.plural} is said to be in force`, async () =>
        toldOf(await cluster.admin.get(place)).conditions?.some((each) => each.type === type && each.status === "True")
          ? true
          : undefined,
      );
    await cluster.admin.patch(
      theConfig,
      { metadata: { annotations: { "bpfleet.io/undeploy": "6s" } } },
      { type: "merge" },
    );
    const set = await until("its pods clean", async () => {
      const found = await cluster.admin.find<AnyObject>(theSet);
      return JSON.stringify(found).includes('"cleanup"') ? found : undefined;
    });
    // What the DaemonSet's controller and kubelets would do: one node is clean, the pod of the other never runs.
    const { generation } = set?.metadata ?? {};
    await cluster.admin.patch(
      theSet,
      {
        status: {
          observedGeneration: generation,
          desiredNumberScheduled: 2,
          updatedNumberScheduled: 1,
          numberReady: 1,
          currentNumberScheduled: 2,
          numberMisscheduled: 0,
        },
      },
      { type: "merge", subresource: "status" },
    );
    await cluster.admin.create<AnyObject>(
      { ...pods, namespace: inSystem },
      {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "stuck", namespace: inSystem, labels: { name: "bpfd-daemon" } },
        spec: { nodeName: "n2", containers: [{ name: "c", image: "i" }] },
      },
    );
    const report = await until(
      "it is told",
      async () => (await cluster.admin.get(theConfig)).metadata.annotations?.["bpfleet.io/undeployed"],
    );
    assert.equal(
      report,
      "1 of 2 nodes are clean; not: n2; run `ebpfctl cleanup` there, or restart them, to detach what is left",
    );
    const ours = toldOf(await cluster.admin.get<AnyObject>({ ...programs, name: "stays" }));
    assert.deepEqual(
      [ours.state, ours.nodes, ours.conditions?.map(({ type, status, reason }) => [type, status, reason])],
      ["Pending", { ready: 0, total: 0 }, [["Ready", "Unknown", "Undeployed"]]],
    );
    assert.equal(ours.conditions?.[0]?.message, `bpfleet was undeployed; ${report}`);
    assert.deepEqual(
      toldOf(await cluster.admin.get(config)).conditions?.map(({ type, reason }) => [type, reason]),
      [
        ["Cause", "Undeployed"],
        ["NotYetLoaded", "ProgramsNotYetLoaded"],
      ],
    );
    assert.equal(await cluster.admin.find(theSet), undefined);
    assert.equal(await cluster.admin.find({ ...secrets, name: "bpfleet-ca" }), undefined);
    assert.deepEqual((await cluster.admin.list(slices)).items, []);
    assert.deepEqual((await cluster.admin.list({ ...slices, plural: "nodestates" })).items, []);
    await cluster.admin.delete(config);
    await until(
      "the config goes at once",
      async () => ((await cluster.admin.find(config)) === undefined ? true : undefined),
      10_000,
    );
    await sleep(2000);
    assert.equal(await cluster.admin.find(theSet), undefined, "nothing is made anew");
  },
);
