import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeFacts } from "@bpfleet/kernel";
import { nodeFacts, wholeKernel } from "@bpfleet/kernel/testing";
import type { SocketsIntent } from "./intent.ts";
import { sockets } from "./sockets.ts";

const owner = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "watch" };
const origin = { object: owner, path: "" };
const pod = (name: string): SocketsIntent["pods"][number] => ({
  pod: name,
  namespace: "default",
  path: `/pods/${name}`,
});
const intent: SocketsIntent = { feature: "sockets", origin, pods: [pod("web"), pod("late")], priority: 10 };

function facts(cgroup2: NodeFacts["kernel"]["cgroup2"]): NodeFacts {
  return nodeFacts({
    objects: { sockets: { digest: "d" } },
    kernel: { ...wholeKernel, cgroup2 },
    cgroups: { "/pods/web": "77" },
  });
}

test("sockets.plan attaches to each pod whose cgroup exists and waits for the others", () => {
  const plan = sockets.plan([intent], facts({ has: true }));
  assert.deepEqual(
    plan.attachments.map(({ point }) => point),
    [{ hook: "cgroup", path: "/pods/web", attach: "sock_ops", member: "sockets/default/watch/default/web/program" }],
  );
  assert.deepEqual(
    plan.problems.map(({ reason, severity }) => [reason, severity]),
    [["CgroupNotFound", "waiting"]],
  );
});

test("sockets.plan refuses a node that has only cgroup v1", () => {
  const plan = sockets.plan([intent], facts({ has: false, why: "no cgroup2 mount" }));
  assert.deepEqual(plan.programs, []);
  assert.equal(plan.problems[0]?.reason, "CgroupV2Missing");
  assert.equal(plan.problems[0]?.severity, "refused");
});

test("sockets.counters sums over the CPUs and subtracts what ended, or ends unseen, from what began", () => {
  const [instance] = sockets.plan([intent], facts({ has: true })).instances;
  assert.ok(instance);
  const keys = new Uint8Array(new Uint32Array([0, 1, 2, 3, 4]).buffer);
  const values = new Uint8Array(new BigUint64Array([5n, 2n, 3n, 0n, 4n, 0n, 0n, 9n, 1n, 0n]).buffer);
  const { gauges, labels } = sockets.counters(instance, new Map([["connections", { count: 5, keys, values }]]));
  assert.deepEqual(gauges, {
    connections_opened: 7n,
    connections_accepted: 3n,
    connections_closed: 4n,
    connections_retransmitted: 9n,
    connections_untracked: 1n,
    connections_active: 5n,
  });
  assert.deepEqual(labels, { pod_namespace: "default", pod: "web" });
});
