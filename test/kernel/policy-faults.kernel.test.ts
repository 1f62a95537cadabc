import assert from "node:assert/strict";
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "@bpfleet/daemon/testing";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig } from "./policy-rig/policy-rig.ts";
import type { Probe } from "./policy-rig/prober.ts";

const [a, b] = [rigPod("x", "a", 1), rigPod("x", "b", 2)];
const patientMs = 500;

/** On which ports `to` hears others. */
function hears(to: RigPod, ...ports: readonly number[]): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: to.name, namespace: to.namespace },
    spec: {
      podSelector: { matchLabels: { app: to.name } },
      policyTypes: ["Ingress"],
      ingress: ports.map((port) => ({ ports: [{ port }] })),
    },
  };
}

function declared(rig: PolicyRig, pods: readonly RigPod[]): readonly KubeObject[] {
  const namespaces = [...new Set(pods.map(({ namespace }) => namespace))];
  return [
    ...namespaces.map((name) => namespaceObject(name, { ns: name })),
    ...pods.map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name })),
  ];
}

/** Takes all room that is left. */
function fill(folder: string): void {
  for (let bytes = 1 << 20; bytes >= 1; bytes >>= 1)
    for (let isRoom = true; isRoom;)
      try {
        writeFileSync(join(folder, "filling"), Buffer.alloc(bytes), { flag: "a" });
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
        isRoom = false;
      }
}

test("a disk that is full keeps no denial from coming into force, nor from staying so over restarts", async () => {
  await using rig = await PolicyRig.make("routed", [a, b], { stateBytes: 4 << 20 });
  const probe = (port: number): Probe => ({ from: podKey(b), to: a.ipv4, protocol: "TCP", port });
  const answers = async (): Promise<string> => {
    const met = await rig.prober.probe([probe(80), probe(81)], patientMs);
    return met.map((each) => (each === "answered" ? "open" : "closed")).join();
  };
  const isKept = async (): Promise<boolean> => /^bpfleet_plan_kept 1$/m.test(await rig.metrics());
  const put = async (policy: KubeObject): Promise<void> => {
    const { objects, trouble } = await rig.change({ write: [policy] });
    const { state, messages } = objects.find(({ ref }) => ref.kind === policy.kind) ?? assert.fail();
    assert.deepEqual([state, messages, trouble], ["in-force", [], undefined]);
  };

  await rig.change({ write: declared(rig, [a, b]) });
  await put(hears(a, 80, 81));
  assert.equal(await answers(), "open,open");
  assert.ok(await isKept());

  fill(rig.state);
  const before = readdirSync(rig.state).toSorted();
  await put(hears(a, 80));
  assert.equal(await answers(), "open,closed");
  await put(hears(a));
  assert.equal(await answers(), "closed,closed");
  assert.ok(!(await isKept()));
  assert.deepEqual(readdirSync(rig.state).toSorted(), before, "no drafts are left");
  const lines = rig.log.split("\n").filter((line) => line.includes("ENOSPC"));
  const [line = "", ...others] = lines.filter((each) => each.startsWith("{"));
  assert.match(line, /keep on the disk what is in force.*no space left on device \(ENOSPC\); make room there/);
  assert.deepEqual(others, [], "it is said once");

  // What it finds on the disk lets pass what is denied.
  await rig.kill();
  await rig.start({ isDaemonAlone: true });
  assert.equal(await answers(), "closed,closed");
  assert.ok(!(await isKept()));
  await rig.stop();
  await rig.start();
  await put(hears(a));
  assert.equal(await answers(), "closed,closed");
  assert.ok(!(await isKept()));

  rmSync(join(rig.state, "filling"));
  await until("the plan is kept", isKept, 60_000);
  await rig.kill();
  await rig.start({ isDaemonAlone: true });
  assert.ok(await isKept());
  assert.equal(await answers(), "closed,closed");
});
