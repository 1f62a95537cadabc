import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { AuditLog } from "./audit-log.ts";
import { ClusterNode } from "./cluster-node.ts";
import { startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";
import { createPods } from "./pods.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const root = join(import.meta.dirname, "../..");
let audit: AuditLog;
let cluster: FleetCluster;
let node: ClusterNode;
let running: RunningOperator;

before(async () => {
  if (skip !== undefined) return;
  audit = new AuditLog();
  cluster = await startFleetCluster(audit.flags);
  running = await cluster.startOperator({ webhook: { host: "127.0.0.1", port: 0 } });
  node = await ClusterNode.make(cluster.server);
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

/** What the API server has: `kubectl get` of it by its full name. */
function find(resource: string, name: string, namespace = "default"): Said | undefined {
  const text = cluster.server.kubectl(["get", resource, name, "-n", namespace, "-o", "json", "--ignore-not-found"]);
  return text === "" ? undefined : (JSON.parse(text) as Said);
}

for (const [resource, folder] of [
  ["ebpftrafficcontrols", "networking.fos1.io/ebpftrafficcontrol"],
  ["ebpfnatpolicies", "networking.fos1.io/ebpfnatpolicy"],
  ["podconfigmapconfigs", "podconfig.example.com/podconfigmapconfig"],
] as const)
  test(`the documented ${resource} say in their status that they are not served`, { skip }, async () => {
    const { kubectl } = cluster.server;
    for (const file of globSync(`packages/kinds/src/${folder}/samples/*.yaml`, { cwd: root })) {
      const { kind, metadata } = JSON.parse(
        kubectl(["apply", "-f", "-", "-o", "json"], readFileSync(join(root, file), "utf8")),
      ) as AnyObject;
      const { name } = metadata;
      await node.until("the node tells it", async () => (await node.result(kind, name))?.state === "NotServed");
      const ready = await until(`${kind} ${name} says so`, () =>
        find(resource, name)?.status?.conditions?.find(
          ({ type, reason }) => type === "Ready" && reason === "NotServed",
        ),
      );
      assert.equal(ready.status, "False");
      assert.match(ready.message, /is not served yet; /);
    }
  });

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
