import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;
let running: RunningOperator;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  running = await cluster.startOperator();
  await setThat("there is a DaemonSet", () => true);
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

const theSet = { group: "apps", version: "v1", plural: "daemonsets", namespace: "kube-system", name: "bpfd-daemon" };
const services = { group: "", version: "v1", plural: "services", namespace: "kube-system" } as const;
const accounts = { group: "", version: "v1", plural: "serviceaccounts", namespace: "kube-system" } as const;

interface Container {
  readonly name: string;
  readonly resources: object;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
}

interface Set extends AnyObject {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>>; readonly labels: object };
      readonly spec: { readonly containers: readonly Container[]; readonly initContainers: readonly Container[] };
    };
  };
}

async function setThat(what: string, holds: (set: Set) => boolean): Promise<Set> {
  return until(what, async () => {
    const set = await cluster.admin.find<Set>(theSet);
    return set !== undefined && holds(set) ? set : undefined;
  });
}

function configure(data: Readonly<Record<string, string | null>>): void {
  const patch = JSON.stringify({ data });
  cluster.server.kubectl(["-n", "kube-system", "patch", "cm", "bpfd-config", "--type=merge", "-p", patch]);
}

interface Told {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

async function toldOf(what: RegExp): Promise<Told> {
  const about = "--field-selector=involvedObject.name=bpfd-config";
  return until(`the ConfigMap's events say ${what}`, () => {
    const text = cluster.server.kubectl(["-n", "kube-system", "get", "events", about, "-o", "json"]);
    return (JSON.parse(text) as { readonly items: readonly Told[] }).items.find(({ message }) => what.test(message));
  });
}

function refused(): string | undefined {
  return /^bpfleet_operator_refused_objects (\d+)$/m.exec(running.operator.metrics())?.[1];
}

const level = (set: Set): string | undefined => set.spec.template.metadata.annotations["bpfd.io.bpfd.loglevel"];

/** A policy that refuses DaemonSets, once it is in force. */
async function refuseSets(name: string, expression: string, message: string): Promise<() => void> {
  const head = { apiVersion: "admissionregistration.k8s.io/v1", metadata: { name } };
  const rules = [
    { apiGroups: ["apps"], apiVersions: ["*"], operations: ["CREATE", "UPDATE"], resources: ["daemonsets"] },
  ];
  const spec = { matchConstraints: { resourceRules: rules }, validations: [{ expression, message }] };
  const { kubectl } = cluster.server;
  kubectl(["create", "-f", "-"], JSON.stringify({ ...head, kind: "ValidatingAdmissionPolicy", spec }));
  const binding = { policyName: name, validationActions: ["Deny"] };
  kubectl(["create", "-f", "-"], JSON.stringify({ ...head, kind: "ValidatingAdmissionPolicyBinding", spec: binding }));
  const probe = {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "probe", namespace: "default" },
    spec: {
      selector: { matchLabels: { a: "b" } },
      template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  };
  await until(`${name} refuses`, () => {
    try {
      kubectl(["create", "--dry-run=server", "-f", "-"], JSON.stringify(probe));
      return undefined;
    } catch (error) {
      return String(error).includes(message) ? true : undefined;
    }
  });
  return () => {
    kubectl(["delete", `validatingadmissionpolicybinding/${name}`, `validatingadmissionpolicy/${name}`]);
  };
}

for (const [key, wrong, reason, right, holds] of [
  [
    "bpfleet.agent-resources",
    "{limits: {example.com/foo: 100m}}",
    /limits\.example\.com\/foo must be a whole number/,
    "{limits: {example.com/foo: 1}}",
    /"example\.com\/foo":"1"/,
  ],
  [
    "bpfleet.daemon-resources",
    "{requests: {example.com/dev: 1}}",
    /requests\.example\.com\/dev needs the same limit/,
    "{requests: {example.com/dev: 1}, limits: {example.com/dev: 1}}",
    /"example\.com\/dev":"1"/,
  ],
  [
    "bpfleet.agent-resources",
    "{limits: {hugepages-2Mi: 64Mi}}",
    /hugepages need cpu or memory/,
    "{limits: {hugepages-2Mi: 64Mi, memory: 300Mi}}",
    /"hugepages-2Mi":"64Mi"/,
  ],
  ["bpfleet.node-selector", "{a..b/c: d}", /"a\.\.b\/c" is no label/, "{a.b/c: d}", /"a\.b\/c":"d"/],
  [
    "bpfleet.image-pull-secrets",
    "a,a",
    /a is there twice/,
    "a,b",
    /"imagePullSecrets":\[\{"name":"a"\},\{"name":"b"\}\]/,
  ],
] as const)
  test(`${key}: ${wrong} changes nothing, is told, and gives way to a correct one`, { skip }, async () => {
    const before = await setThat("there is a DaemonSet", () => true);
    configure({ [key]: wrong });
    const told = await toldOf(reason);
    assert.equal(told.type, "Warning");
    assert.ok(told.message.startsWith(`${key}: `), told.message);
    const between = await cluster.admin.get<Set>(theSet);
    assert.equal(between.metadata.uid, before.metadata.uid);
    assert.equal(between.metadata.generation, before.metadata.generation);
    configure({ [key]: right });
    const set = await setThat("the correction is in force", ({ spec }) => holds.test(JSON.stringify(spec)));
    assert.equal(set.metadata.uid, before.metadata.uid);
    configure({ [key]: null });
    await setThat("all is as before", ({ spec }) => !holds.test(JSON.stringify(spec)));
  });

test(
  "a policy that refuses a change leaves the DaemonSet; it is told, and tried until it passes",
  { skip },
  async () => {
    const before = await setThat("there is a DaemonSet", () => true);
    // The very words by which the API server tells of what cannot be changed.
    const message = "images must name a registry; field is immutable";
    const expression = "object.spec.template.spec.containers.all(c, c.image.startsWith('registry.test/'))";
    const allow = await refuseSets("registries", expression, message);
    configure({ "bpfd.log.level": "debug" });
    const { type, reason, message: note } = await toldOf(/images must name a registry/);
    assert.deepEqual([type, reason], ["Warning", "Refused"]);
    assert.match(
      note,
      /^daemonsets\.apps kube-system\/bpfd-daemon stays as it was: .*; correct what ConfigMap bpfd-config/,
    );
    assert.equal(refused(), "1");
    const between = await cluster.admin.get<Set>(theSet);
    assert.equal(between.metadata.uid, before.metadata.uid);
    assert.equal(between.metadata.generation, before.metadata.generation);
    // What the policy asks for goes through while it stands.
    configure({ "bpfd.image": "registry.test/bpfd:1", "bpfd.agent.image": "registry.test/agent:1" });
    const set = await setThat("the correction is in force", (each) => level(each) === "debug");
    assert.equal(set.metadata.uid, before.metadata.uid);
    await until("nothing is refused", () => (refused() === "0" ? true : undefined));
    configure({ "bpfd.image": null, "bpfd.agent.image": null, "bpfd.log.level": "info" });
    await until("it is refused again", () => (refused() === "1" ? true : undefined));
    allow();
    const last = await setThat("it is tried again where only the policy goes", (each) => level(each) === "info");
    assert.equal(last.metadata.uid, before.metadata.uid);
  },
);

test(
  "a DaemonSet with another selector stays while ours would be refused, then goes by way of parting",
  { skip },
  async () => {
    const { kubectl } = cluster.server;
    const ours = await setThat("there is a DaemonSet", () => true);
    const { template } = ours.spec;
    const labels = { "made-by": "another" };
    const foreign = {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "bpfd-daemon", namespace: "kube-system" },
      spec: {
        selector: { matchLabels: labels },
        template: { ...template, metadata: { ...template.metadata, labels } },
      },
    };
    const isForeign = ({ spec }: Set): boolean => spec.selector.matchLabels["made-by"] === "another";
    // Nobody makes one faster than the operator: it does not lead meanwhile.
    await running[Symbol.asyncDispose]();
    kubectl(["-n", "kube-system", "delete", "ds", "bpfd-daemon"]);
    kubectl(["create", "-f", "-"], JSON.stringify(foreign));
    const made = await setThat("it is another one", isForeign);
    const allow = await refuseSets("no-new-ones", "oldObject != null", "no DaemonSets are made today");
    running = await cluster.startOperator({ identity: "operator-2" });
    const told = await toldOf(/no DaemonSets are made today/);
    assert.equal(told.reason, "Refused");
    assert.equal((await cluster.admin.get<Set>(theSet)).metadata.generation, made.metadata.generation);
    allow();
    const parting = await setThat("its pods take out what would wait for daemons", ({ spec }) =>
      spec.template.spec.containers.every(({ name }) => name === "parted"),
    );
    assert.equal(parting.metadata.uid, made.metadata.uid);
    assert.ok(isForeign(parting));
    // What its controller tells when they have.
    const counts = { currentNumberScheduled: 1, desiredNumberScheduled: 1, numberMisscheduled: 0, numberReady: 1 };
    const status = { ...counts, updatedNumberScheduled: 1, observedGeneration: parting.metadata.generation };
    await cluster.admin.patch(theSet, { status }, { type: "merge", subresource: "status" });
    const set = await setThat("it is ours", (each) => !isForeign(each));
    assert.equal(set.spec.selector.matchLabels["name"], "bpfd-daemon");
    await until("nothing is refused", () => (refused() === "0" ? true : undefined));
  },
);

test("a Service with an address of its own gives way to ours, which has none", { skip }, async () => {
  const { kubectl } = cluster.server;
  await running[Symbol.asyncDispose]();
  kubectl(["-n", "kube-system", "delete", "svc", "bpfd-daemon"]);
  kubectl(["-n", "kube-system", "create", "service", "clusterip", "bpfd-daemon", "--tcp=80"]);
  running = await cluster.startOperator({ identity: "operator-3" });
  await until("it has no address", async () => {
    const service = await cluster.admin.find<AnyObject>({ ...services, name: "bpfd-daemon" });
    return (service?.["spec"] as { clusterIP?: string } | undefined)?.clusterIP === "None" ? true : undefined;
  });
});

test("the operator brings the agents' account back, and leaves alone what others gave it", { skip }, async () => {
  const { kubectl } = cluster.server;
  const account = { ...accounts, name: "bpfd-daemon" };
  const before = await cluster.admin.get<AnyObject>(account);
  kubectl(["-n", "kube-system", "delete", "sa", "bpfd-daemon"]);
  const back = await until("it is another one", async () => {
    const found = await cluster.admin.find<AnyObject>(account);
    return found !== undefined && found.metadata.uid !== before.metadata.uid ? found : undefined;
  });
  assert.equal(back["automountServiceAccountToken"], false);
  kubectl(["-n", "kube-system", "patch", "sa", "bpfd-daemon", "-p", '{"imagePullSecrets":[{"name":"theirs"}]}']);
  kubectl(["-n", "kube-system", "patch", "sa", "bpfd-daemon", "-p", '{"automountServiceAccountToken":true}']);
  const kept = await until("it is as before", async () => {
    const found = await cluster.admin.get<AnyObject>(account);
    return found["automountServiceAccountToken"] === false ? found : undefined;
  });
  assert.deepEqual(kept["imagePullSecrets"], [{ name: "theirs" }]);
});
