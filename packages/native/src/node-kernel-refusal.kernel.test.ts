import assert from "node:assert/strict";
import { test } from "node:test";
import { KernelError } from "@bpfleet/base";
import type { NodePlan, ObservedKernel } from "@bpfleet/kernel";
import type { NodeKernel } from "./node-kernel.ts";
import { nodeHarness } from "./testing/kernel-harness.ts";
import { apply, counted, PASS, planOf } from "./testing/kernel-plan.ts";

const DROP = 1;

/** Refuses programs whose key is in the set, as a verifier would. */
function refusing(port: NodeKernel, refused: ReadonlySet<string>): NodeKernel {
  const load = port.loadProgram.bind(port);
  port.loadProgram = async (spec, identity, maps) => {
    if (refused.has(spec.key))
      throw new KernelError(`load program ${spec.key}: refused`, { code: "verifier", call: "x", retry: "never" });
    return load(spec, identity, maps);
  };
  return port;
}

/** Keys of what runs at the only hook, in order. */
function running({ hooks, programs }: ObservedKernel): readonly string[] {
  return (hooks[0]?.members ?? []).map((id) => programs.find((each) => each.programId === id)?.key ?? "?");
}

function withVerdict(plan: NodePlan, key: string, verdict: number): NodePlan {
  const programs = plan.programs.map((spec) => (spec.key === key ? { ...spec, globals: { verdict } } : spec));
  return { ...plan, programs };
}

test("NodeKernel runs a chain without a program that cannot be loaded, until it can", async () => {
  await using kernel = await nodeHarness();
  const refused = new Set(["test/b"]);
  const port = refusing(await kernel.open(), refused);
  const plan = planOf(kernel, { programs: ["a", "b", "c"] });
  await apply(port, plan);
  assert.deepEqual(running(await port.observe()), ["test/a", "test/c"]);
  const before = await counted(port);
  kernel.sandbox.sendUdp(kernel.peer.name, "10.9.0.1", 10);
  assert.ok((await counted(port)) - before >= 20);
  const [link] = (await port.observe()).hooks;
  await apply(port, plan);
  assert.equal((await port.observe()).hooks[0]?.programId, link?.programId, "nothing is replaced again and again");
  refused.clear();
  assert.deepEqual((await apply(port, plan)).failed, []);
  assert.deepEqual(running(await port.observe()), ["test/a", "test/b", "test/c"]);
  assert.deepEqual((await apply(port, plan)).actions, []);
});

test("NodeKernel goes on with the earlier generation of a program that cannot be loaded, beside newcomers", async () => {
  await using kernel = await nodeHarness();
  const refused = new Set<string>();
  const port = refusing(await kernel.open(), refused);
  await apply(port, planOf(kernel, { programs: ["a"] }));
  kernel.sandbox.sendUdp(kernel.peer.name, "10.9.0.1", 1);
  // It drops everything: what comes behind it sees nothing.
  await apply(port, withVerdict(planOf(kernel, { programs: ["a"] }), "test/a", DROP));
  const old = (await port.observe()).programs[0]?.programId;
  refused.add("test/a");
  const changed = planOf(kernel, { programs: ["a", "b"], digest: "2" });
  await apply(port, changed);
  const after = await port.observe();
  assert.deepEqual(running(after), ["test/a", "test/b"]);
  assert.equal(after.hooks[0]?.members[0], old);
  const before = await counted(port);
  kernel.sandbox.sendUdp(kernel.peer.name, "10.9.0.1", 20);
  const seen = (await counted(port)) - before;
  assert.ok(seen >= 20 && seen < 40, `the first drops what it sees: ${seen}`);
  refused.clear();
  assert.deepEqual((await apply(port, changed)).failed, []);
  assert.equal((await port.observe()).programs.length, 2);
  assert.deepEqual((await apply(port, changed)).actions, []);
  assert.equal(changed.programs[0]?.globals["verdict"], PASS);
});
