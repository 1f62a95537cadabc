import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { runCaptured, type CommandRun } from "@bpfleet/ebpfctl/testing";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { install } from "./cluster-node.ts";
import { podOf } from "./pods.ts";

const skip = whyNoBuild();
let server: ApiServer;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  install(server);
  server.kubectl(["create", "namespace", "shop"]);
  server.kubectl(["config", "set-context", "--current", "--namespace=shop"]);
});

after(() => server?.[Symbol.asyncDispose]());

/** Somewhere without a store, a daemon or an agent. */
function run(argv: readonly string[], stdin = "", env: Readonly<Record<string, string>> = {}): Promise<CommandRun> {
  const nowhere = Object.fromEntries(
    ["STORE", "STATE", "SOCKET", "BPFFS"].map((name) => [`BPFLEET_${name}`, `/nonexistent/${name.toLowerCase()}`]),
  );
  return runCaptured(argv, { env: { ...nowhere, ...env }, cwd: "/", nowMs: () => Date.now(), stdin });
}

const inCluster = (argv: readonly string[], stdin?: string): Promise<CommandRun> =>
  run(["--kubeconfig", server.kubeconfig, ...argv], stdin);

const program = (packetsPerSecond: number): string => `
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: { name: edge }
spec:
  type: xdp
  interface: eth0
  settings: { rateLimiting: { enabled: true, packetsPerSecond: ${packetsPerSecond} } }
`;

const policy = `
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: to-db }
spec:
  endpointSelector: { matchLabels: { app: web } }
  egress: [{ toEndpoints: [{ matchLabels: { app: db } }] }]
`;

test("ebpfctl --kubeconfig applies, lists, describes and deletes the objects of a cluster", { skip }, async () => {
  const tried = await inCluster(["apply", "-f", "-", "--dry-run=server"], program(100));
  assert.deepEqual(tried, {
    exitCode: 0,
    out: "ebpfprogram.networking.fos1.io/edge created (server dry run)\n",
    err: "",
  });
  assert.match((await inCluster(["get", "ebpfprograms"])).err, /^No resources found in shop namespace/);
  for (const [rate, outcome] of [
    [100, "created"],
    [100, "unchanged"],
    [200, "configured"],
  ] as const) {
    const { out } = await inCluster(["apply", "-f", "-"], program(rate));
    assert.equal(out, `ebpfprogram.networking.fos1.io/edge ${outcome}\n`);
  }
  const { out: kept } = await inCluster(["get", "ebpfprogram", "edge", "-o", "yaml"]);
  assert.match(kept, /namespace: shop\n[^]*packetsPerSecond: 200\n/);
  assert.doesNotMatch(kept, /managedFields/);
  assert.match((await inCluster(["get", "all", "-A"])).out, /ebpfprogram.*edge/);

  const uid = server.kubectl(["get", "ebpfprograms.networking.fos1.io", "edge", "-o", "jsonpath={.metadata.uid}"]);
  const { status } = await server.call("POST", "/apis/events.k8s.io/v1/namespaces/shop/events", {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: "edge.1" },
    eventTime: new Date().toISOString().replace("Z", "000Z"),
    type: "Warning",
    reason: "InterfaceNotFound",
    note: "there is no eth0",
    action: "Attach",
    reportingController: "bpfleet.io/agent",
    reportingInstance: "n1",
    regarding: { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", namespace: "shop", name: "edge", uid },
  });
  assert.equal(status, 201);
  const { out: described, err: why } = await inCluster(["describe", "ebpfprogram", "edge"]);
  assert.equal(why, "");
  assert.match(described, /Name: +edge\nNamespace: +shop\n/);
  assert.match(described, /Warning +InterfaceNotFound .*there is no eth0/);

  const gone = await inCluster(["delete", "ebpfprogram", "edge", "none"]);
  assert.equal(gone.out, 'ebpfprogram.networking.fos1.io "edge" deleted\n');
  assert.match(gone.err, /Error from server \(NotFound\): ebpfprograms\.networking\.fos1\.io "none" not found/);
  assert.equal(gone.exitCode, 1);
  assert.equal(server.kubectl(["get", "ebpfprograms.networking.fos1.io", "-A", "-o", "name"]), "");
});

test("ebpfctl --kubeconfig takes no field from others unless it is told to", { skip }, async () => {
  server.kubectl(["apply", "-f", "-"], program(1));
  const refused = await inCluster(["apply", "-f", "-"], program(2));
  assert.equal(refused.exitCode, 1);
  assert.match(refused.err, /conflict.*packetsPerSecond.*; --force-conflicts takes these fields over\n$/);
  const { out } = await inCluster(["apply", "-f", "-", "--force-conflicts"], program(2));
  assert.equal(out, "ebpfprogram.networking.fos1.io/edge configured\n");
});

test("ebpfctl --kubeconfig checks everything before it applies anything", { skip }, async () => {
  const wrong = `${policy}---\n${program(1).replace("type: xdp", "type: xpd").replace("edge", "wrong")}`;
  const { exitCode, err } = await inCluster(["apply", "-f", "-"], wrong);
  assert.equal(exitCode, 1);
  assert.match(err, /xpd[^]*nothing was changed/);
  const none = await inCluster(["get", "ciliumnetworkpolicy", "to-db"]);
  assert.match(none.err, /"to-db" not found|doesn't have a resource type/);
});

test("ebpfctl --kubeconfig lint knows the pods of the cluster", { skip }, async () => {
  const lint = async (): Promise<string> => (await inCluster(["lint", "-f", "-"], policy)).out;
  assert.equal(await lint(), "", "it selects nobody yet");
  for (const name of ["web", "db"])
    await server.call("POST", "/api/v1/namespaces/shop/pods", podOf(name, "shop", "n1"));
  assert.match(await lint(), /CiliumNetworkPolicy shop\/to-db: .*shop\/web cannot ask for names/);
});

test("ebpfctl says where what it asks can be asked", { skip }, async () => {
  const trace = await inCluster(["trace", "--drops", "ebpfprogram/a b"]);
  assert.equal(trace.exitCode, 1);
  const there = "kubectl exec -n kube-system daemonset/bpfd-daemon -- ebpfctl trace --drops 'ebpfprogram/a b'\n";
  assert.equal(trace.err, `error: trace asks a node, not the API server; run it on the node: ${there}`);
  const dump = await inCluster(["policy", "dump"]);
  assert.match(dump.err, /policy asks a node.*ebpfctl policy dump\n$/);

  const plain = await run(["policy", "dump"], "", { KUBECONFIG: server.kubeconfig });
  assert.match(plain.err, /^error: .*\nThe nodes of a cluster are asked in their pods: kubectl exec .* policy dump\n$/);
  assert.doesNotMatch((await run(["policy", "dump"])).err, /kubectl/);

  const lost = await run(["--kubeconfig", join("/nonexistent", "config"), "get", "ebpfprograms"]);
  assert.equal(lost.exitCode, 1);
  assert.match(lost.err, /^error: .*\/nonexistent\/config/);
  const { err } = await inCluster(["--context", "other", "get", "ebpfprograms"]);
  assert.match(err, /^error: .*other/);
  assert.match((await inCluster(["apply", "--wait", "-f", "-"], program(1))).err, /kubectl wait --for=condition=Ready/);
});
