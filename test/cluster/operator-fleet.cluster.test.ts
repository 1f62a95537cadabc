import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { AnyObject, ResourceAddress } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;
let running: RunningOperator;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  running = await cluster.startOperator();
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

const daemonSets = { group: "apps", version: "v1", plural: "daemonsets", namespace: "kube-system" } as const;
const theSet = { ...daemonSets, name: "bpfd-daemon" } as const;
const configMaps = { group: "", version: "v1", plural: "configmaps", namespace: "kube-system" } as const;
const theConfig = { ...configMaps, name: "bpfd-config" } as const;

interface Set extends AnyObject {
  readonly spec: {
    readonly template: {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
      readonly spec: {
        readonly containers: readonly {
          readonly name: string;
          readonly image: string;
          readonly env: readonly unknown[];
        }[];
        readonly initContainers: readonly {
          readonly name: string;
          readonly command: readonly string[];
          readonly args?: readonly string[];
        }[];
        readonly tolerations: readonly unknown[];
      };
    };
  };
}

function findSet(): Promise<Set | undefined> {
  return cluster.admin.find<Set>(theSet);
}

function setThat(what: string, holds: (set: Set) => boolean): Promise<Set> {
  return until(what, async () => {
    const set = await findSet();
    return set !== undefined && holds(set) ? set : undefined;
  });
}

async function objectThat(
  address: ResourceAddress & { readonly name: string },
  what: string,
  holds: (object: AnyObject) => boolean,
): Promise<AnyObject> {
  return until(what, async () => {
    const object = await cluster.admin.find<AnyObject>(address);
    return object !== undefined && holds(object) ? object : undefined;
  });
}

function annotationsOf(set: Set): Readonly<Record<string, string>> {
  return set.spec.template.metadata.annotations;
}

test(
  "the operator makes DaemonSet, Service, configuration and certificates, each Secret with its keys",
  { skip },
  async () => {
    const set = await setThat("there is a DaemonSet", () => true);
    assert.deepEqual(
      set.spec.template.spec.containers.map(({ name }) => name),
      ["bpfd", "bpfd-agent", "cni"],
    );
    for (const [name, keys] of Object.entries({
      "bpfleet-ca": ["ca.crt", "since", "tls.crt", "tls.key"],
      "bpfleet-daemon-tls": ["ca.crt", "tls.crt", "tls.key"],
      "bpfleet-agent-tls": ["ca.crt", "tls.crt", "tls.key"],
      "bpfleet-webhook-tls": ["ca.crt", "tls.crt", "tls.key"],
    })) {
      const secret = await objectThat(
        { group: "", version: "v1", plural: "secrets", namespace: "kube-system", name },
        `there is ${name}`,
        () => true,
      );
      assert.deepEqual(Object.keys(secret["data"] as object).toSorted(), keys);
    }
    await objectThat({ ...configMaps, name: "bpfd-daemon-config" }, "there is the daemons' configuration", () => true);
  },
);

test(
  "the operator undoes edits of the DaemonSet: of fields, of what is added, and of what is removed",
  { skip },
  async () => {
    const { kubectl } = cluster.server;
    const edit = (patch: unknown): string =>
      kubectl(["-n", "kube-system", "patch", "ds", "bpfd-daemon", "--type=json", "-p", JSON.stringify(patch)]);
    edit([{ op: "replace", path: "/spec/template/spec/containers/0/image", value: "evil:latest" }]);
    await setThat("the image is ours again", ({ spec }) => spec.template.spec.containers[0]?.image === "bpfd:latest");
    edit([{ op: "add", path: "/spec/template/spec/containers/-", value: { name: "extra", image: "x" } }]);
    await setThat("the container is gone", ({ spec }) => spec.template.spec.containers.length === 3);
    edit([
      { op: "add", path: "/spec/template/spec/containers/0/env/-", value: { name: "EXTRA", value: "1" } },
      { op: "remove", path: "/spec/template/spec/tolerations" },
      { op: "replace", path: "/spec/revisionHistoryLimit", value: 3 },
    ]);
    const set = await setThat("all three are undone", ({ spec }) => {
      const { containers, tolerations } = spec.template.spec;
      return (
        tolerations?.length === 1 &&
        !JSON.stringify(containers).includes("EXTRA") &&
        (spec as unknown as { revisionHistoryLimit: number }).revisionHistoryLimit === 10
      );
    });
    assert.equal(set.spec.template.spec.initContainers.length, 1);
    const volumes = [{ name: "agent-run", emptyDir: { medium: "Memory", sizeLimit: "1" } }];
    const patch = JSON.stringify({ spec: { template: { spec: { volumes } } } });
    const ours = set.metadata.generation ?? 0;
    kubectl(["-n", "kube-system", "patch", "ds", "bpfd-daemon", "--type=strategic", "-p", patch]);
    await setThat(
      "what is wanted to be empty is",
      (each) =>
        (each.metadata.generation ?? 0) > ours + 1 &&
        /\{"name":"agent-run","emptyDir":\{\}\}/.test(JSON.stringify(each.spec)),
    );
  },
);

test(
  "the operator makes a deleted DaemonSet and Service anew, and leaves a restart of the rollout alone",
  { skip },
  async () => {
    const { kubectl } = cluster.server;
    const { metadata } = await setThat("there is a DaemonSet", () => true);
    kubectl(["-n", "kube-system", "delete", "ds/bpfd-daemon", "svc/bpfd-daemon"]);
    await setThat("it is another one", (set) => set.metadata.uid !== metadata.uid);
    await objectThat(
      { group: "", version: "v1", plural: "services", namespace: "kube-system", name: "bpfd-daemon" },
      "the service is back",
      () => true,
    );
    kubectl(["-n", "kube-system", "rollout", "restart", "ds/bpfd-daemon"]);
    kubectl([
      "-n",
      "kube-system",
      "patch",
      "ds",
      "bpfd-daemon",
      "--type=json",
      "-p",
      JSON.stringify([{ op: "replace", path: "/spec/template/spec/hostNetwork", value: false }]),
    ]);
    const set = await setThat(
      "the host's network is back",
      ({ spec }) => (spec.template.spec as unknown as { hostNetwork?: boolean }).hostNetwork === true,
    );
    assert.ok("kubectl.kubernetes.io/restartedAt" in annotationsOf(set));
  },
);

test(
  "the operator rolls the DaemonSet when the ConfigMap changes, and changes nothing while it cannot be read",
  { skip },
  async () => {
    const { kubectl } = cluster.server;
    const configure = (data: Readonly<Record<string, string | null>>): string =>
      kubectl(["-n", "kube-system", "patch", "cm", "bpfd-config", "--type=merge", "-p", JSON.stringify({ data })]);
    const before = annotationsOf(await setThat("there is a DaemonSet", () => true))["bpfleet.io/config-hash"];
    configure({ "bpfd.log.level": "debug", "bpfd.image": "registry.test/bpfd:2" });
    const set = await setThat(
      "the image is the new one",
      ({ spec }) => spec.template.spec.containers[0]?.image === "registry.test/bpfd:2",
    );
    assert.notEqual(annotationsOf(set)["bpfleet.io/config-hash"], before);
    assert.equal(annotationsOf(set)["bpfd.io.bpfd.loglevel"], "debug");
    configure({ "bpfd.log.level": "loud" });
    await until("the mistake is an event of the ConfigMap", () => {
      const text = kubectl([
        "-n",
        "kube-system",
        "get",
        "events",
        "--field-selector=involvedObject.name=bpfd-config",
        "-o",
        "wide",
      ]);
      return text.includes("bpfd.log.level: must be one of") ? true : undefined;
    });
    await until("the mistake is told", () =>
      running.log.find(({ message }) => message.includes("bpfd.log.level: must be one of")),
    );
    assert.equal((await findSet())?.metadata.resourceVersion, set.metadata.resourceVersion);
    configure({
      "bpfd.log.level": "info",
      "bpfd.image": "bpfd:latest",
      "bpfd.toml": "[grpc.endpoint]\nport = 50052\n",
    });
    await objectThat({ ...configMaps, name: "bpfd-daemon-config" }, "bpfd.toml is there", ({ data }) =>
      JSON.stringify(data).includes("50052"),
    );
    configure({ "bpfd.toml": null });
  },
);

test(
  "the operator gives the DaemonSet tolerations, nodes, resources and address of metrics as the ConfigMap has them",
  { skip },
  async () => {
    const { kubectl } = cluster.server;
    const configure = (data: Readonly<Record<string, string | null>>): string =>
      kubectl(["-n", "kube-system", "patch", "cm", "bpfd-config", "--type=merge", "-p", JSON.stringify({ data })]);
    const before = await setThat(
      "the test before has left nothing",
      ({ spec }) => !JSON.stringify(spec).includes("BPFLEET_BPFD_CONFIG"),
    );
    configure({
      "bpfleet.tolerations": "- {key: dedicated, operator: Exists, effect: NoSchedule}",
      "bpfleet.node-selector": "pool: edge",
      "bpfleet.daemon-resources": "{requests: {cpu: 0.5}, limits: {memory: 1Gi}}",
      "bpfleet.agent-resources": "limits: {memory: 512Mi}",
      "bpfleet.metrics-address": "127.0.0.1",
    });
    const placed = await setThat("its nodes are others", ({ spec }) => /"pool":"edge"/.test(JSON.stringify(spec)));
    const { containers, nodeSelector, tolerations } = placed.spec.template.spec as unknown as {
      readonly containers: readonly { readonly resources: unknown }[];
      readonly nodeSelector: unknown;
      readonly tolerations: unknown;
    };
    assert.deepEqual(nodeSelector, { "kubernetes.io/os": "linux", pool: "edge" });
    assert.deepEqual(tolerations, [{ key: "dedicated", operator: "Exists", effect: "NoSchedule" }]);
    // As the API server writes amounts.
    assert.deepEqual(
      containers.map(({ resources }) => resources),
      [
        { requests: { cpu: "500m" }, limits: { memory: "1Gi" } },
        { limits: { memory: "512Mi" } },
        { requests: { cpu: "1m", memory: "4Mi" } },
      ],
    );
    assert.match(JSON.stringify(containers), /"value":"127\.0\.0\.1:9091"/);
    const { resourceVersion } = placed.metadata;
    await sleep(1000);
    assert.equal((await findSet())?.metadata.resourceVersion, resourceVersion, "amounts in another form are no edit");
    configure({
      "bpfleet.tolerations": null,
      "bpfleet.node-selector": null,
      "bpfleet.daemon-resources": null,
      "bpfleet.agent-resources": null,
      "bpfleet.metrics-address": null,
    });
    await setThat(
      "all is as before",
      ({ spec }) => JSON.stringify(spec.template.spec) === JSON.stringify(before.spec.template.spec),
    );
  },
);

for (const [what, data, init] of [
  ["as it was", {}, ["bpffs"]],
  ["without the plug-in", { "bpfleet.cni": "off" }, ["bpffs", "cni"]],
] as const)
  test(`a ConfigMap that comes back ${what} while the DaemonSet parts makes it whole again`, { skip }, async () => {
    const config = await cluster.admin.get<AnyObject>(theConfig);
    const restore = (more: object): Promise<AnyObject> => {
      const metadata = { name: "bpfd-config", namespace: "kube-system" };
      return cluster.admin.create<AnyObject>(configMaps, {
        ...config,
        metadata,
        data: { ...(config["data"] as object), ...more },
      });
    };
    const names = ({ spec }: Set): string =>
      [...spec.template.spec.containers, ...spec.template.spec.initContainers].map(({ name }) => name).join(" ");
    const before = await setThat("it is whole", (set) => names(set) === "bpfd bpfd-agent cni bpffs");
    await cluster.admin.delete(theConfig);
    await setThat("it parts", (set) => names(set) === "parted cni");
    const restored = await restore(data);
    const containers = init.length === 1 ? ["bpfd", "bpfd-agent", "cni"] : ["bpfd", "bpfd-agent"];
    const set = await setThat("it is whole again", (each) => names(each) === [...containers, ...init].join(" "));
    assert.equal(set.metadata.uid, before.metadata.uid);
    assert.ok(!("bpfleet.io/parting" in annotationsOf(set)));
    const events = cluster.server.kubectl(["-n", "kube-system", "get", "events", "-o", "json"]);
    const told = (JSON.parse(events) as { items: { message: string; involvedObject: { uid?: string } }[] }).items;
    assert.deepEqual(
      told.filter(({ involvedObject }) => involvedObject.uid === restored.metadata.uid).map(({ message }) => message),
      [],
    );
    await cluster.admin.patch(theConfig, { data: { "bpfleet.cni": null } }, { type: "merge" });
    await setThat("it is as before", (each) => names(each) === "bpfd bpfd-agent cni bpffs");
  });

test("without the ConfigMap there is no DaemonSet; that of namespace bpfd serves too", { skip }, async () => {
  const config = await cluster.admin.get<AnyObject>(theConfig);
  await cluster.admin.delete(theConfig);
  const parting = await setThat("its pods take out what would wait for daemons", ({ spec }) => {
    const [cni] = spec.template.spec.initContainers;
    return cni?.args?.[0] === "uninstall" && spec.template.spec.containers.every(({ name }) => name === "parted");
  });
  // What its controller tells when they have.
  const counts = { currentNumberScheduled: 1, desiredNumberScheduled: 1, numberMisscheduled: 0, numberReady: 1 };
  const status = { ...counts, updatedNumberScheduled: 1, observedGeneration: parting.metadata.generation };
  await cluster.admin.patch(theSet, { status }, { type: "merge", subresource: "status" });
  await until("the DaemonSet is removed", async () => ((await findSet()) === undefined ? true : undefined));
  await cluster.admin.create(
    { ...configMaps, namespace: "bpfd" },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "bpfd-config", namespace: "bpfd" },
      data: { "bpfd.image": "of-bpfd:1" },
    },
  );
  await setThat("the DaemonSet is back", ({ spec }) => spec.template.spec.containers[0]?.image === "of-bpfd:1");
  await cluster.admin.create(configMaps, {
    ...config,
    metadata: { name: "bpfd-config", namespace: "kube-system" },
  });
  await setThat(
    "that of kube-system goes first",
    ({ spec }) => spec.template.spec.containers[0]?.image === "bpfd:latest",
  );
});

test(
  "the operator restores the agents' role and binding, also when the binding names another role",
  { skip },
  async () => {
    const { kubectl } = cluster.server;
    const rolesAt = { group: "rbac.authorization.k8s.io", version: "v1" } as const;
    const role = { ...rolesAt, plural: "clusterroles", name: "bpfd-daemon" } as const;
    const binding = { ...rolesAt, plural: "clusterrolebindings", name: "bpfd-daemon" } as const;
    const before = await cluster.admin.get<AnyObject>(role);
    kubectl(["patch", "clusterrole", "bpfd-daemon", "--type=json", "-p", '[{"op":"remove","path":"/rules/0"}]']);
    await objectThat(
      role,
      "its rules are back",
      ({ rules }) => JSON.stringify(rules) === JSON.stringify(before["rules"]),
    );
    kubectl(["delete", "clusterrolebinding", "bpfd-daemon"]);
    kubectl([
      "create",
      "clusterrolebinding",
      "bpfd-daemon",
      "--clusterrole=cluster-admin",
      "--serviceaccount=default:x",
    ]);
    await objectThat(
      binding,
      "it binds the agents",
      ({ subjects, roleRef }) =>
        JSON.stringify([subjects, roleRef]).includes('"name":"bpfd-daemon"') &&
        !JSON.stringify(roleRef).includes("cluster-admin"),
    );
  },
);

test("what is added while no operator runs is undone by the next one", { skip }, async () => {
  const { kubectl } = cluster.server;
  const service = { group: "", version: "v1", plural: "services", namespace: "kube-system", name: "bpfd-daemon" };
  const content = (object: AnyObject): string => JSON.stringify(object["spec"]);
  const [set, before] = [
    await setThat("there is a DaemonSet", () => true),
    await cluster.admin.get<AnyObject>(service),
  ];
  await running[Symbol.asyncDispose]();
  const volumes = [{ name: "agent-run", emptyDir: { medium: "Memory" } }];
  const patch = JSON.stringify({ spec: { template: { spec: { volumes } } } });
  kubectl(["-n", "kube-system", "patch", "ds", "bpfd-daemon", "--type=strategic", "-p", patch]);
  const port = JSON.stringify([{ op: "add", path: "/spec/ports/-", value: { name: "extra", port: 99 } }]);
  kubectl(["-n", "kube-system", "patch", "svc", "bpfd-daemon", "--type=json", "-p", port]);
  const added = await cluster.admin.get<AnyObject>(service);
  assert.notEqual(content(added), content(before));
  running = await cluster.startOperator({ identity: "operator-2" });
  await setThat("its volume is empty", (each) => content(each) === content(set));
  await objectThat(service, "the port is gone", (each) => content(each) === content(before));
});

test(
  "where nothing changes the operator writes nothing: server defaults and controllers are nobody's edits",
  { skip },
  async () => {
    await setThat("there is a DaemonSet", () => true);
    let last = { writes: "", at: performance.now() };
    await until("what the tests before asked for is written", () => {
      if (writes() !== last.writes) last = { writes: writes(), at: performance.now() };
      return performance.now() - last.at > 3000 ? true : undefined;
    });
    // What the DaemonSet controller does.
    await cluster.admin.patch(
      theSet,
      {
        status: {
          observedGeneration: 1,
          numberReady: 0,
          desiredNumberScheduled: 0,
          currentNumberScheduled: 0,
          numberMisscheduled: 0,
        },
      },
      { type: "merge", subresource: "status", fieldManager: "kube-controller-manager" },
    );
    await sleep(500);
    const addresses = [
      theSet,
      theConfig,
      { ...configMaps, name: "bpfd-daemon-config" },
      { group: "", version: "v1", plural: "services", namespace: "kube-system", name: "bpfd-daemon" },
    ] as const;
    const versions = (): Promise<readonly (string | undefined)[]> =>
      Promise.all(addresses.map(async (address) => (await cluster.admin.get(address)).metadata.resourceVersion));
    const [versionsBefore, writesBefore] = [await versions(), writes()];
    await sleep(30_000);
    assert.deepEqual(await versions(), versionsBefore);
    assert.equal(writes(), writesBefore);
    // A new leader looks at everything, and moves nothing either.
    await running[Symbol.asyncDispose]();
    running = await cluster.startOperator({ identity: "operator-3" });
    await until("it leads", () => (running.operator.isLeader ? true : undefined));
    await until("it looked", () => (running.operator.metrics().includes('kind="daemonsets.apps"') ? true : undefined));
    await sleep(1000);
    assert.deepEqual(await versions(), versionsBefore);
  },
);

/** How often was written, by kind. */
function writes(): string {
  const lines = running.operator.metrics().split("\n");
  return lines.filter((line) => line.startsWith("bpfleet_operator_writes_total")).join("\n");
}
