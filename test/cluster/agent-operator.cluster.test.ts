import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { AuditLog } from "./audit-log.ts";
import { ClusterNode, documented } from "./cluster-node.ts";
import { startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";
import { createPods } from "./pods.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const root = join(import.meta.dirname, "../..");
const [inList] = documented;
/** Its CRD comes last. */
const late = "ebpfnatpolicies.networking.fos1.io";
let audit: AuditLog;
let cluster: FleetCluster;
let node: ClusterNode;
let running: RunningOperator;

before(async () => {
  if (skip !== undefined) return;
  audit = new AuditLog();
  cluster = await startFleetCluster(audit.flags);
  // Not by kubectl's own waiting, which says nothing of what it waits for.
  const crd = { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions", name: late };
  await cluster.admin.delete(crd);
  await until("the CRD is gone", async () => (await cluster.admin.find(crd)) === undefined || undefined, 60_000);
  running = await cluster.startOperator({ webhook: { host: "127.0.0.1", port: 0 } });
  node = await ClusterNode.make(cluster.server);
  await node.processes.stop("agent");
  // As the operator's DaemonSet has it where no Calico runs.
  node.startAgent({ BPFLEET_FOLLOW_CALICO: "true" });
});

after(async () => {
  await node?.[Symbol.asyncDispose]();
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
  audit?.[Symbol.dispose]();
});

interface Said extends AnyObject {
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
    }[];
  };
}

/** What the API server has; without kubectl, for which the operator in this process would have to wait. */
function find(kindName: string, name: string, namespace = "default"): Promise<Said | undefined> {
  const { group, version, plural, scope } = kinds.find(({ kind }) => kind === kindName) ?? assert.fail(kindName);
  return cluster.admin.find<Said>({
    group,
    version,
    plural,
    name,
    ...(scope === "Namespaced" && { namespace }),
  });
}

function declare(file: string): AnyObject {
  const text = readFileSync(join(root, file), "utf8");
  return JSON.parse(cluster.server.kubectl(["apply", "-f", "-", "-o", "json"], text)) as AnyObject;
}

/** What is declared in a file says on its node and in its status that it is not served. */
async function isNotServed(file: string): Promise<void> {
  const { kind, metadata } = declare(file);
  const { name } = metadata;
  await node.until(`${kind} ${name}: the node tells it`, async () => {
    const result = await node.result(kind, name);
    return result?.state === "NotServed";
  });
  const ready = await until(`${kind} ${name} says so`, async () =>
    (await find(kind, name))?.status?.conditions?.find(
      ({ type, reason }) => type === "Ready" && reason === "NotServed",
    ),
  );
  assert.equal(ready.status, "False");
  assert.match(ready.message, /is not served yet; /);
}

for (const [resource, folder] of [
  ["ebpftrafficcontrols", "networking.fos1.io/ebpftrafficcontrol"],
  ["felixconfigurations", "crd.projectcalico.org/felixconfiguration"],
  ["podconfigmapconfigs", "podconfig.example.com/podconfigmapconfig"],
] as const)
  test(`the documented ${resource} say in their status that they are not served`, { skip }, async () => {
    for (const file of globSync(`packages/kinds/src/${folder}/samples/*.yaml`, { cwd: root })) await isNotServed(file);
  });

test(
  "a deleted EbpfProgramConfig waits until its program is off every node, and goes with what was made of it",
  { skip },
  async (t) => {
    const object = join(node.processes.sandbox.dir, "pass.o");
    writeFileSync(object, node.processes.sandbox.compile("contract"));
    const spec = {
      name: "count_xdp",
      type: "XDP",
      nodeselector: {},
      priority: 10,
      attachpoint: { interface: "eth0" },
      bytecode: `file://${object}`,
    };
    // As one that was restored from a copy: others have put the finalizer too.
    const metadata = { name: "elder", finalizers: ["bpfd.io.operator/finalizer"] };
    const head = { apiVersion: "bpfd.io/v1alpha1", kind: "EbpfProgramConfig", metadata };
    const configs = { group: "bpfd.io", version: "v1alpha1", plural: "ebpfprogramconfigs" };
    await cluster.admin.create<AnyObject>(configs, { ...head, spec });
    const conditions = async (kind: string, name: string): Promise<readonly string[]> =>
      (await find(kind, name))?.status?.conditions?.map(({ type }) => type) ?? [];
    await node.until("it is loaded", async () => (await conditions("EbpfProgram", "elder-n1")).at(-1) === "Loaded");
    await node.until(
      "its config says so",
      async () => (await conditions("EbpfProgramConfig", "elder")).at(-1) === "ReconcileSuccess",
    );
    assert.ok(hasXdp());
    const made = (await find("EbpfProgram", "elder-n1")) ?? assert.fail();
    assert.deepEqual(made.metadata.finalizers, ["bpfd.io.agent/finalizer"]);
    assert.deepEqual(
      made.metadata.ownerReferences?.map((owner) => [owner.kind, owner.name, owner.controller]),
      [["EbpfProgramConfig", "elder", true]],
    );
    assert.deepEqual((await find("EbpfProgramConfig", "elder"))?.metadata.finalizers, ["bpfd.io.operator/finalizer"]);
    // Nothing can be unloaded while there is no agent: it stays, and says that it is to go.
    await node.processes.stop("agent");
    await cluster.admin.delete({ ...configs, name: "elder" });
    assert.notEqual((await find("EbpfProgramConfig", "elder"))?.metadata.deletionTimestamp, undefined);
    assert.deepEqual((await find("EbpfProgram", "elder-n1"))?.metadata.finalizers, ["bpfd.io.agent/finalizer"]);
    assert.ok(hasXdp());
    const began = performance.now();
    node.startAgent({ BPFLEET_FOLLOW_CALICO: "true" });
    await node.until("the program is gone", async () => (await find("EbpfProgram", "elder-n1")) === undefined);
    assert.ok(!hasXdp());
    await node.until("its config is gone", async () => (await find("EbpfProgramConfig", "elder")) === undefined);
    t.diagnostic(`gone ${(performance.now() - began).toFixed(0)} ms after its agent came back`);
  },
);

/** Whether a program runs where packets come in. */
function hasXdp(): boolean {
  const text = execFileSync("ip", ["-n", node.processes.far, "-j", "link", "show", "eth0"], { encoding: "utf8" });
  return text.includes('"xdp"');
}

test("an agent asks for the pods of its node only, and for its own node only", { skip }, async () => {
  const { server } = cluster;
  server.kubectl(["create", "namespace", "shop"]);
  for (const name of ["n1", "n2"]) await createPods(server, "shop", name, [0, 2]);
  // A kind for which pods are looked at.
  const spec = { type: "cgroup", settings: { blacklist: { enabled: true, ips: ["203.0.113.9"] } } };
  const metadata = { name: "egress", namespace: "shop" };
  const program = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", metadata, spec };
  server.kubectl(["apply", "-f", "-"], JSON.stringify(program));
  for (const [resource, selector] of [
    ["pods", "spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed"],
    ["nodes", "metadata.name=n1"],
  ] as const) {
    await node.until(`${resource} are watched`, () => audit.agentReads(resource).some(({ verb }) => verb === "watch"));
    assert.deepEqual(
      audit.agentReads(resource).filter(({ url }) => url.searchParams.get("fieldSelector") !== selector),
      [],
    );
  }
  server.kubectl(["delete", "ebpfprograms.networking.fos1.io", "egress", "-n", "shop"]);
});

test("a kind whose CRD comes later is followed, told and written within seconds", { skip }, async (t) => {
  const folder = "packages/kinds/src/networking.fos1.io/ebpfnatpolicy";
  declare(`${folder}/generated/crd.yaml`);
  cluster.server.kubectl(["wait", "--for=condition=Established", "--timeout=60s", `crd/${late}`]);
  const began = performance.now();
  for (const file of globSync(`${folder}/samples/*.yaml`, { cwd: root })) {
    await isNotServed(file);
    t.diagnostic(`${file}: ${(performance.now() - began).toFixed(0)} ms after its CRD`);
  }
  assert.ok(performance.now() - began < 20_000);
});

/** What is no forced apply, and in which object that is seen; docs/adr/0030-what-is-not-applied.md says why. */
const otherwise = {
  agent: ["create events", "patch events", "update nodestates/status"],
  operator: [
    "create events",
    "patch events",
    "create leases",
    "update leases",
    // Applied, and not forced: what others have taken over is theirs.
    "patch customresourcedefinitions",
    // The finalizer that others have put too.
    "patch ebpfprogramconfigs",
  ],
} as const;

test("agent and operator write by server-side apply, but for what a list says", { skip }, async () => {
  const { kubectl } = cluster.server;
  const spec = { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips: [inList] } } };
  const metadata = { name: "filter", namespace: "default" };
  const program = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", metadata, spec };
  kubectl(["apply", "-f", "-"], JSON.stringify(program));
  declare("packages/kinds/src/bpfd.io/bpfprogramconfig/samples/xdp-pass-all-nodes.yaml");
  await node.until("its object says so", async () =>
    ((await find("EBPFProgram", "filter"))?.status?.conditions ?? []).some(
      ({ type, status }) => type === "Ready" && status === "True",
    ),
  );
  await node.until("the config has its finalizer", async () => {
    const config = await find("BpfProgramConfig", "xdp-pass-all-nodes");
    return config?.metadata.finalizers !== undefined && config.status !== undefined;
  });
  await node.until("the node has its object", async () => {
    const made = await find("BpfProgram", "xdp-pass-all-nodes-n1");
    return (made?.status?.conditions ?? []).length > 0;
  });
  for (const [name, account] of [
    ["agent", "bpfd-daemon"],
    ["operator", "podconfigmap-controller"],
  ] as const) {
    const writes = audit.allWrites(account).filter(({ what, status }) => status < 300 && !what.startsWith("delete "));
    const plain = new Set(writes.filter(({ isApplied }) => !isApplied).map(({ what }) => withoutName(what)));
    assert.deepEqual(
      [...plain].filter((what) => !otherwise[name].some((each) => each === what)),
      [],
      name,
    );
    const applied = new Set(writes.filter(({ isApplied }) => isApplied).map(({ what }) => withoutName(what)));
    assert.ok(applied.size > 2, [...applied].join());
  }
  const resources = kubectl(["api-resources", "--verbs=list", "-o", "name"]).trim().split("\n");
  const line = '{{$kind}}/{{or .subresource ""}}: {{.operation}} by {{.manager}}{{"\\n"}}';
  const template = `{{range .items}}{{$kind := .kind}}{{range .metadata.managedFields}}${line}{{end}}{{end}}`;
  const text = kubectl(["get", resources.join(), "-A", "--show-managed-fields", "-o", `go-template=${template}`]);
  const entries = text.split("\n").filter((entry) => entry.includes(" by bpfleet"));
  const by = (operation: string): readonly string[] =>
    [...new Set(entries.filter((entry) => entry.includes(` ${operation} by `)))].toSorted();
  assert.deepEqual(
    by("Update").filter((entry) => !/^(Event|Lease)\/: Update by bpfleet$/.test(entry)),
    ["NodeState/status: Update by bpfleet-agent"],
  );
  const applied = by("Apply");
  for (const entry of [
    "BpfProgram/: Apply by bpfleet-agent",
    "BpfProgram/status: Apply by bpfleet-agent",
    "BpfProgramConfig/: Apply by bpfleet-operator",
    "BpfProgramConfig/status: Apply by bpfleet-operator",
    "CustomResourceDefinition/: Apply by bpfleet-operator",
    "DaemonSet/: Apply by bpfleet-operator",
    "EBPFProgram/status: Apply by bpfleet-operator",
    "NodeState/: Apply by bpfleet-agent",
    "Secret/: Apply by bpfleet-operator",
  ])
    assert.ok(applied.includes(entry), `${entry} is not among ${applied.join("; ")}`);
});

/** `patch ebpfprograms/a/status` → `patch ebpfprograms/status` */
function withoutName(what: string): string {
  const [place = "", , subresource] = what.split("/");
  return subresource === undefined ? place : `${place}/${subresource}`;
}
