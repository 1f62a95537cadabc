import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Traffic } from "@bpfleet/daemon/testing";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { target } from "../kernel/two-processes.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { ClusterNode, documented, install } from "./cluster-node.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const [inList, inNetwork, elsewhere] = documented;
let server: ApiServer;
let node: ClusterNode;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  install(server);
  node = await ClusterNode.make(server, { labels: { tier: "edge" } });
});

after(async () => {
  await node?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

const answers = (source: string): boolean => node.processes.answers(source);

/** As fos1-ebpf-crds.md has it. */
const packetFilter = `
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata:
  name: xdp-packet-filter
  namespace: default
spec:
  description: "XDP program for packet filtering and DDoS protection"
  type: xdp
  interface: eth0
  settings:
    rateLimiting:
      enabled: true
      packetsPerSecond: 10000
    blacklist:
      enabled: true
      ips:
        - "192.168.1.100"
        - "10.10.10.0/24"
    stateful: true
`;

test("bpfd-agent drops what kubectl apply declares, and tells it in the object of its node", { skip }, async () => {
  assert.deepEqual(documented.map(answers), [true, true, true]);
  server.kubectl(["apply", "-f", "-"], packetFilter);
  await node.until("the documented sources are dropped", () => !answers(inList) && !answers(inNetwork));
  assert.equal(answers(elsewhere), true);
  const result = () => node.result("EBPFProgram", "xdp-packet-filter");
  await node.until("the node tells it", async () => (await result())?.state === "InForce");
  const told = await result();
  assert.deepEqual([told?.group, told?.namespace, told?.observedGeneration], ["networking.fos1.io", "default", 1]);
  const ready = told?.conditions.find(({ type }) => type === "Ready");
  assert.equal(ready?.status, "True");
  const state = await node.state();
  assert.deepEqual(
    state?.metadata.ownerReferences?.map(({ kind, name }) => [kind, name]),
    [["Node", "n1"]],
  );
  const { inventory, versions, conditions } = state?.status ?? {};
  const ours = inventory?.programs.filter(({ isOurs }) => isOurs) ?? [];
  assert.ok(ours.some(({ owner, hook }) => owner?.name === "xdp-packet-filter" && hook === "xdp/eth0"));
  assert.ok(inventory?.links.some(({ isOurs, owner }) => isOurs && owner === undefined) ?? false);
  assert.ok(versions?.kernel !== undefined && versions.libbpf !== undefined);
  assert.deepEqual(
    conditions?.map(({ type, status }) => `${type} ${status}`),
    ["Ready True", "DaemonReachable True", "Synced True", "Kept True"],
  );
  const events = server.kubectl(["get", "events.events.k8s.io", "-A", "-o", "json"]);
  assert.match(events, /"name": "xdp-packet-filter"/);
});

test("bpfd-agent takes out of force what is deleted, also while a finalizer keeps it", { skip }, async () => {
  server.kubectl(["apply", "-f", "-"], packetFilter);
  await node.until("it is in force", () => !answers(inList));
  const name = "ebpfprogram.networking.fos1.io/xdp-packet-filter";
  server.kubectl(["patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/keep"]}}']);
  server.kubectl(["delete", name, "--wait=false"]);
  await node.until("it is out of force", () => answers(inList) && answers(inNetwork));
  server.kubectl(["patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}']);
  await node.until(
    "the node tells of it no more",
    async () => (await node.result("EBPFProgram", "xdp-packet-filter")) === undefined,
  );
});

test("bpfd-agent says what is wrong with an object, and serves the others", { skip }, async () => {
  server.kubectl(["apply", "-f", "-"], packetFilter);
  const absent = packetFilter.replace("interface: eth0", "interface: eth7").replace("xdp-packet-filter", "waits");
  server.kubectl(["apply", "-f", "-"], absent);
  await node.until("the one waits", async () => (await node.result("EBPFProgram", "waits"))?.state === "Waiting");
  await node.until("the other is in force", () => !answers(inList));
  server.kubectl(["delete", "ebpfprograms.networking.fos1.io", "--all"]);
  await node.until("none is in force", () => answers(inList));
});

test("bpfd-agent makes the program object of each config, follows labels, and lets it go", { skip }, async () => {
  const object = join(node.processes.sandbox.dir, "pass.o");
  writeFileSync(object, node.processes.sandbox.compile("contract"));
  const config = {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgramConfig",
    metadata: { name: "pass" },
    spec: {
      name: "count_xdp",
      type: "XDP",
      nodeselector: { matchLabels: { tier: "edge" } },
      attachpoint: { networkmultiattach: { interface: "eth0", priority: 10 } },
      bytecode: `file://${object}`,
    },
  };
  const program = async () => {
    const { status, body } = await server.call("GET", "/apis/bpfd.io/v1alpha1/bpfprograms/pass-n1");
    return status === 200 ? (body as unknown as Program) : undefined;
  };
  const current = async () => (await program())?.status?.conditions?.at(-1)?.type;
  server.kubectl(["apply", "-f", "-"], JSON.stringify(config));
  await node.until("it is loaded", async () => (await current()) === "Loaded");
  const made = await program();
  assert.deepEqual(made?.metadata.finalizers, ["bpfd.io.agent/finalizer"]);
  assert.equal(made?.metadata.labels?.["owningConfig"], "pass");
  assert.deepEqual(
    made?.metadata.ownerReferences?.map(({ kind, name, controller }) => [kind, name, controller]),
    [["BpfProgramConfig", "pass", true]],
  );
  assert.equal(Object.keys(made?.spec?.programs ?? {}).length, 1);
  server.kubectl(["label", "node", "n1", "tier-"]);
  await node.until("it is not selected", async () => (await current()) === "NotSelected");
  const state = async () => (await node.result("BpfProgramConfig", "pass"))?.state;
  await node.until("the node tells that", async () => (await state()) === "NotSelected");
  server.kubectl(["label", "node", "n1", "tier=edge"]);
  await node.until("it is loaded again", async () => (await current()) === "Loaded");
  // Somebody removes what is ours to make: it is made again.
  server.kubectl(["delete", "bpfprograms.bpfd.io", "pass-n1", "--wait=false"]);
  const { uid } = made?.metadata ?? {};
  await node.until("it is made again", async () => ![undefined, uid].includes((await program())?.metadata.uid));
  server.kubectl(["delete", "bpfprogramconfigs.bpfd.io", "pass"]);
  await node.until("it is gone", async () => (await program()) === undefined);
});

test("bpfd-agent makes the program object of a config whose name is longer than a label", { skip }, async () => {
  const object = join(node.processes.sandbox.dir, "long.o");
  writeFileSync(object, node.processes.sandbox.compile("contract"));
  const name = "long".repeat(20);
  const config = {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgramConfig",
    metadata: { name },
    spec: {
      name: "count_xdp",
      type: "XDP",
      nodeselector: {},
      attachpoint: { networkmultiattach: { interface: "eth0", priority: 10 } },
      bytecode: `file://${object}`,
    },
  };
  server.kubectl(["apply", "-f", "-"], JSON.stringify(config));
  const made = () => server.call("GET", `/apis/bpfd.io/v1alpha1/bpfprograms/${name}-n1`);
  const program = async () => (await made()).body as unknown as Program;
  await node.until("it is loaded", async () => (await program()).status?.conditions?.at(-1)?.type === "Loaded");
  assert.match((await program()).metadata.labels?.["owningConfig"] ?? "", /^(long){12}-[0-9a-f]{14}$/);
  await node.until("its node tells it", async () => (await node.result("BpfProgramConfig", name))?.state === "InForce");
  server.kubectl(["delete", "bpfprogramconfigs.bpfd.io", name]);
  await node.until("it is gone", async () => (await made()).status === 404);
});

interface Program {
  readonly metadata: {
    readonly uid: string;
    readonly finalizers?: readonly string[];
    readonly labels?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly {
      readonly kind: string;
      readonly name: string;
      readonly controller?: boolean;
    }[];
  };
  readonly spec?: { readonly programs?: Readonly<Record<string, unknown>> };
  readonly status?: { readonly conditions?: readonly { readonly type: string }[] };
}

test("bpfd-agent tells when the daemon is away, and when it is back", { skip }, async () => {
  const reachable = async () =>
    (await node.state())?.status?.conditions?.find(({ type }) => type === "DaemonReachable")?.status;
  await node.until("it is there", async () => (await reachable()) === "True");
  await node.processes.stop("daemon", "SIGKILL");
  await node.until("it is away", async () => (await reachable()) === "False");
  assert.ok(((await node.state())?.status?.inventory?.total.maps ?? 0) > 0, "what there was is still told");
  await node.processes.startDaemon();
  await node.until("it is back", async () => (await reachable()) === "True");
});

test(
  "bpfd-agent leaves everything in force while the API server is away, and goes on when it is back",
  { skip },
  async () => {
    server.kubectl(["apply", "-f", "-"], packetFilter);
    await node.until("it is in force", () => !answers(inList));
    const { near, far } = node.processes;
    await using traffic = await Traffic.start(near, [inNetwork], far, target);
    await server.kill();
    await node.until("the agent notices", () => /refused|reach|ECONNREFUSED/.test(node.processes.said("agent")));
    await node.processes.stop("agent", "SIGKILL");
    node.startAgent();
    await node.until("the new agent waits", () => /the daemon answers/.test(node.processes.said("agent")));
    assert.equal(answers(inList), false);
    await server.restart();
    server.kubectl(["apply", "-f", "-"], packetFilter.replace('- "192.168.1.100"', '- "203.0.113.9"'));
    await node.until("the change is in force", () => !answers(elsewhere) && answers(inList));
    const { sent, received } = await traffic.stop();
    assert.ok((sent[inNetwork]?.length ?? 0) > 1000);
    assert.deepEqual(received[inNetwork] ?? [], [], "in the list all the time: none may pass");
    server.kubectl(["delete", "ebpfprograms.networking.fos1.io", "--all"]);
    await node.until("none is in force", () => answers(inNetwork));
  },
);
