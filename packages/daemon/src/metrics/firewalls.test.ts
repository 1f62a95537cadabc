import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { PolicyData } from "@bpfleet/features";
import {
  emptyJournal,
  emptyPlan,
  FakeKernel,
  fakeError,
  FakeWorld,
  renderHookKey,
  type FeatureInstance,
  type NodePlan,
} from "@bpfleet/kernel";
import { pino } from "pino";
import { WorkLoop } from "../loop/work-loop.ts";
import { Firewalls } from "./firewalls.ts";

const owner = { group: "podconfig.example.com", kind: "PodConfigMapConfig", namespace: "default", name: "a" };
const hookOf = (name: string) => renderHookKey({ hook: "tc", interface: name, direction: "egress" });
/** Of the pod behind the interface. */
function firewall(pod: string, more: Partial<PolicyData> = {}): FeatureInstance {
  const endpoint = { namespace: "default", pod, interface: pod, ifindex: 7 };
  const data: PolicyData = { about: "pod", tier: "l4", isCounted: true, endpoints: [endpoint], ...more };
  return {
    feature: "policy",
    owner,
    key: `policy/objects/a/pods/default/${pod}`,
    programs: ["policy/ingress"],
    maps: {},
    rules: [],
    hooks: [hookOf(pod)],
    data,
  };
}
const planOf = (pods: readonly string[], instances = pods.map((pod) => firewall(pod))): NodePlan => ({
  ...emptyPlan,
  maps: [
    {
      key: "lines",
      name: "m",
      definition: { type: "hash", keySize: 1, valueSize: 1, maxEntries: 8, flags: 0 },
      contents: { kind: "live" },
    },
  ],
  programs: [
    {
      key: "policy/ingress",
      name: "p",
      type: "sched_cls",
      object: { name: "policy", digest: "d" },
      entry: "policy_ingress",
      globals: {},
      maps: { lines: "lines" },
    },
  ],
  hooks: pods.map((pod) => ({
    key: hookOf(pod),
    point: { hook: "tc", interface: pod, direction: "egress" },
    members: [{ program: "policy/ingress", priority: 0, proceedOn: [-1] }],
  })),
  instances,
});

function start(t: TestContext, world: FakeWorld, firewalls: Firewalls): WorkLoop {
  const nothing = async () => {};
  const loop = new WorkLoop({
    kernel: new FakeKernel(world),
    state: {
      savePlan: async () => ({ durable: nothing() }),
      passOver: () => undefined,
      saveJournal: nothing,
      savePaused: nothing,
    },
    remembered: { plan: undefined, journal: emptyJournal, isPaused: false, hashSeed: 1, unusable: [] },
    modes: () => ({ inline: true, stub: true, legacyTc: false }),
    clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
    log: pino({ level: "silent" }),
    driftMs: 60_000,
    backoff: { firstMs: 60_000, longestMs: 60_000 },
    onFailed: (plan, failures) => firewalls.failed(plan, failures),
  });
  loop.start();
  t.after(() => loop.stop());
  return loop;
}

const none = { attach_failed: 0n, load_failed: 0n, map_failed: 0n };
function readingsOf(firewalls: Firewalls, loop: WorkLoop) {
  return Object.fromEntries(
    firewalls
      .read(loop.plan(), loop.results())
      .map(({ labels, isAttached, errors }) => [labels["pod_name"], { isAttached, errors }]),
  );
}

test("Firewalls counts each attempt to attach that failed, for the pod of the hook alone", async (t) => {
  const world = new FakeWorld();
  for (const pod of ["a", "b"]) world.addInterface(pod);
  world.intercept = ({ method, key }) =>
    method === "setHook" && key === hookOf("b") ? fakeError("busy", "attach: busy (EBUSY)", "x", "EBUSY") : undefined;
  const firewalls = new Firewalls();
  const loop = start(t, world, firewalls);
  loop.setPlan(planOf(["a", "b"]), true);
  await loop.settled();
  const bad = { isAttached: false, errors: { ...none, attach_failed: 1n } };
  assert.deepEqual(readingsOf(firewalls, loop), { a: { isAttached: true, errors: none }, b: bad });

  // It is not tried again for now.
  loop.setPlan(planOf(["a", "b"]), true);
  await loop.settled();
  assert.deepEqual(readingsOf(firewalls, loop)["b"], bad);
  loop.placesChanged(new Set(["b"]));
  loop.setPlan(planOf(["a", "b"]), true);
  await loop.settled();
  assert.deepEqual(readingsOf(firewalls, loop)["b"]?.errors.attach_failed, 2n);

  world.intercept = () => undefined;
  loop.placesChanged(new Set(["b"]));
  loop.setPlan(planOf(["a", "b"]), true);
  await loop.settled();
  assert.deepEqual(readingsOf(firewalls, loop)["b"], { isAttached: true, errors: { ...none, attach_failed: 2n } });
});

for (const [method, type] of [
  ["loadProgram", "load_failed"],
  ["createMap", "map_failed"],
] as const) {
  test(`Firewalls counts ${type} for every pod that the program serves`, async (t) => {
    const world = new FakeWorld();
    for (const pod of ["a", "b"]) world.addInterface(pod);
    world.intercept = (call) => (call.method === method ? fakeError("internal", "no luck", "x") : undefined);
    const firewalls = new Firewalls();
    const loop = start(t, world, firewalls);
    loop.setPlan(planOf(["a", "b"]), true);
    await loop.settled();
    const failed = { isAttached: false, errors: { ...none, [type]: 1n } };
    assert.deepEqual(readingsOf(firewalls, loop), { a: failed, b: failed });
  });
}

test("Firewalls tells nothing of pods without a firewall, nor of an interface that is gone", async (t) => {
  const world = new FakeWorld();
  const firewalls = new Firewalls();
  const loop = start(t, world, firewalls);
  const others = [
    firewall("b", { tier: "container" }),
    firewall("c", { isCounted: false }),
    firewall("d", { about: "policy" }),
  ];
  loop.setPlan(planOf(["a"], [firewall("a"), firewall("a"), ...others]), true);
  await loop.settled();
  assert.deepEqual(readingsOf(firewalls, loop), { a: { isAttached: false, errors: none } });
});
