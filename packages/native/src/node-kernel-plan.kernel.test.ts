import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { diffPlan, emptyJournal, emptyPlan, observePlan, type ObservedKernel } from "@bpfleet/kernel";
import { readChainCounters } from "@bpfleet/kernel/chain";
import { nodeHarness } from "./testing/kernel-harness.ts";
import { apply, counted, PASS, planOf, shape } from "./testing/kernel-plan.ts";

test("NodeKernel lets real packets through the chain that a plan asks for, and counts each member's", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  const plan = planOf(kernel, { programs: ["a", "b"] });
  assert.deepEqual((await apply(port, plan)).failed, []);
  const [hook] = (await port.observe()).hooks;
  assert.deepEqual(hook?.result, { mode: "native", chain: "chain", memberModes: ["inline", "inline"] });
  const before = await counted(port);
  kernel.sandbox.sendUdp(kernel.peer.name, "10.9.0.1", 20);
  const reading = await port.readHook("xdp/v0");
  const members = readChainCounters(
    "xdp",
    [{ proceedOn: [PASS] }, { proceedOn: [PASS] }],
    reading?.values ?? new Uint8Array(0),
  );
  assert.ok(members.every((member) => member.seen >= 20n && member.verdicts["pass"] === member.seen));
  assert.ok((await counted(port)) - before >= 40, "both members saw every packet");
  assert.deepEqual((await apply(port, plan)).actions, []);
});

test("NodeKernel converges after a stop at every action of an edit, and the next diff is empty", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  const pinPath = join(kernel.userPins, "counts");
  const first = planOf(kernel, { programs: ["a", "b"], pinPath });
  const edited = planOf(kernel, { digest: "2", programs: ["b", "c"] });
  await apply(port, edited);
  const wanted = shape(await port.observe());
  await apply(port, first);
  const total = diffPlan(edited, await observePlan(port, edited), emptyJournal).length;
  assert.ok(total > 8);
  for (let stop = 1; stop <= total; stop++) {
    await apply(port, first);
    assert.deepEqual((await apply(port, first)).actions, []);
    await apply(await kernel.open(), edited, stop);
    const restarted = await kernel.open();
    assert.deepEqual((await apply(restarted, edited)).failed, []);
    assert.deepEqual(shape(await restarted.observe()), wanted, `stopped after ${stop}`);
    assert.deepEqual((await apply(restarted, edited)).actions, []);
  }
  await apply(port, emptyPlan);
  assert.deepEqual(await port.observe(), { maps: [], programs: [], hooks: [] });
  assert.deepEqual(readdirSync(kernel.userPins), []);
});

test("NodeKernel in another process finds everything, and nothing is left to do", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  const plan = planOf(kernel, { programs: ["a", "b"], pinPath: join(kernel.userPins, "counts") });
  await apply(port, plan);
  const observed = await port.observe();
  const script = `
    const { NodeKernel } = await import(${JSON.stringify(import.meta.resolve("./node-kernel.ts"))});
    const port = await NodeKernel.open(${JSON.stringify({ bpffsDir: kernel.bpffs, netns: kernel.netns.path })});
    console.log(JSON.stringify(await port.observe()));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.deepEqual(JSON.parse(stdout || "null"), JSON.parse(JSON.stringify(observed)), stderr);
  assert.deepEqual(diffPlan(plan, JSON.parse(stdout) as ObservedKernel, emptyJournal), []);
});

test("NodeKernel attaches again where an interface was re-created, and loses no count", async () => {
  await using kernel = await nodeHarness();
  const port = await kernel.open();
  const plan = planOf(kernel, { programs: ["a", "b"] });
  await apply(port, plan);
  kernel.sandbox.sendUdp(kernel.peer.name, "10.9.0.1", 5);
  const before = await counted(port);
  await kernel.removeInterface();
  const gone = await apply(port, plan);
  assert.match(gone.failed[0] ?? "", /there is no such interface/);
  await kernel.addInterface();
  const back = await apply(port, plan);
  assert.deepEqual(back.actions.slice(0, 1), ["attach again xdp/v0: test/a, test/b"]);
  assert.deepEqual(back.failed, []);
  kernel.sandbox.sendUdp(kernel.peer.name, "10.9.0.1", 5);
  assert.ok((await counted(port)) >= before + 10);
});

for (const inline of [true, false]) {
  test(`NodeKernel puts right whatever pin somebody removes, with ${inline ? "an inlined chain" : "stubs"}`, async () => {
    await using kernel = await nodeHarness();
    const port = await kernel.open();
    const pinPath = join(kernel.userPins, "counts");
    const plan = planOf(kernel, { programs: ["a", "b"], pinPath });
    const modes = { inline, stub: true };
    await apply(port, plan, undefined, modes);
    const wanted = shape(await port.observe());
    const root = join(kernel.bpffs, "bpfleet");
    const pins = (): string[] =>
      readdirSync(root, { recursive: true, withFileTypes: true })
        .filter((entry) => !entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name))
        .toSorted();
    const count = pins().length;
    assert.ok(count >= 10);
    for (let victim = 0; victim <= count; victim++) {
      const path = pins()[victim] ?? pinPath;
      unlinkSync(path);
      assert.deepEqual((await apply(port, plan, undefined, modes)).failed, [], path);
      assert.deepEqual(shape(await port.observe()), wanted, path);
      assert.deepEqual((await apply(port, plan, undefined, modes)).actions, [], path);
      assert.equal(pins().length, count, path);
    }
  });
}
