import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { assemblePlan, mapIdentity, type HookPoint, type NodePlan, type ProgramSpec } from "@bpfleet/kernel";
import { NodeKernel } from "./node-kernel.ts";
import { KernelSandbox } from "./testing/kernel-sandbox.ts";
import { apply } from "./testing/kernel-plan.ts";

const sandbox = new KernelSandbox();
after(() => sandbox[Symbol.asyncDispose]());
const elf = sandbox.compile("contract");
const object = { name: "contract", digest: createHash("sha256").update(elf).digest("hex") };

const counts = {
  key: "test/counts",
  name: "counts",
  definition: { type: "array", keySize: 4, valueSize: 8, maxEntries: 4, flags: 0 },
  contents: { kind: "live" },
} as const;

function planOf(point: HookPoint, entry: string, type: ProgramSpec["type"], mark = 0): NodePlan {
  const spec: ProgramSpec = {
    key: "test/watch",
    name: entry,
    type,
    object,
    entry,
    globals: { mark },
    maps: { counts: "test/counts" },
  };
  const member = { program: spec.key, priority: 0, proceedOn: [] };
  return assemblePlan([
    { maps: [counts], programs: [spec], attachments: [{ point, member }], instances: [], problems: [] },
  ]);
}

async function count(port: NodeKernel): Promise<bigint> {
  const entries = await port.readMap(mapIdentity(counts));
  assert.ok(entries !== undefined);
  return new DataView(entries.values.buffer, entries.values.byteOffset).getBigUint64(0, true);
}

function kernel(bpffsDir: string): Promise<NodeKernel> {
  return NodeKernel.open({ bpffsDir, loadObject: async () => elf });
}

test("NodeKernel counts the calls of a function of a binary, and goes on when the program is replaced", async () => {
  const source = `int __attribute__((noinline)) poke(int at) { __asm__ volatile(""); return at + 1; }
    int main(void) { int sum = 0; for (int at = 0; at < 7; at++) sum += poke(at); return sum == 28 ? 0 : 1; }`;
  const binary = join(sandbox.dir, "poke");
  execFileSync("cc", ["-O1", "-x", "c", "-", "-o", binary], { input: source });
  const port = await kernel(await sandbox.bpffs());
  const point = (name: string): HookPoint => ({
    hook: "uprobe",
    binary,
    function: name,
    offset: 0,
    member: "test/watch",
  });
  if (!existsSync("/sys/bus/event_source/devices/uprobe")) {
    const { failed } = await apply(port, planOf(point("poke"), "count_probe", "kprobe"));
    assert.match(failed.join(), /no uprobes/);
    return;
  }
  assert.deepEqual((await apply(port, planOf(point("poke"), "count_probe", "kprobe"))).failed, []);
  execFileSync(binary);
  assert.equal(await count(port), 7n);
  assert.deepEqual((await apply(port, planOf(point("poke"), "count_probe", "kprobe", 1))).failed, []);
  assert.deepEqual((await apply(port, planOf(point("poke"), "count_probe", "kprobe", 1))).actions, []);
  execFileSync(binary);
  assert.equal(await count(port), 14n);
  const { failed } = await apply(port, planOf(point("nothing"), "count_probe", "kprobe", 1));
  assert.match(failed.join(), /it has no function nothing/);
  await port.removeEverything();
});

test("NodeKernel says how to mount tracefs, and counts system calls where it is mounted", async () => {
  const bpffs = await sandbox.bpffs();
  const point: HookPoint = { hook: "tracepoint", name: "syscalls/sys_enter_getpgid", member: "test/watch" };
  const port = await kernel(bpffs);
  const plan = planOf(point, "count_event", "tracepoint");
  const { failed } = await apply(port, plan);
  if (!existsSync("/sys/kernel/tracing/events")) assert.match(failed.join(), /mount -t tracefs/);
  // A mount namespace of its own: the mount is seen by nobody else.
  const script = `
    import { readFileSync } from "node:fs";
    import { execFileSync } from "node:child_process";
    import { diffPlan, emptyJournal, observePlan, applyActions } from ${JSON.stringify(import.meta.resolve("@bpfleet/kernel"))};
    import { NodeKernel } from ${JSON.stringify(new URL("node-kernel.ts", import.meta.url).href)};
    try { execFileSync("mount", ["-t", "tracefs", "tracefs", "/sys/kernel/tracing"], { stdio: "pipe" }); } catch {}
    const elf = readFileSync(${JSON.stringify(join(sandbox.dir, "contract.bpf.o"))});
    const port = await NodeKernel.open({ bpffsDir: ${JSON.stringify(bpffs)}, loadObject: async () => elf });
    const plan = ${JSON.stringify(plan)};
    for (let time = 0; time < 2; time++) {
      const observed = await observePlan(port, plan);
      const actions = diffPlan(plan, observed, emptyJournal);
      const { results } = await applyActions(actions, port, { plan, observed });
      console.log(actions.length, results.map((item) => item.error?.message ?? item.state).join());
    }`;
  const { stdout, stderr } = sandbox.node(sandbox.netns().name, script);
  assert.match(stdout, /^[1-9]\d* in-force,in-force,in-force\n0 in-force,in-force,in-force\n$/, stderr);
  const before = await count(port);
  execFileSync("cc", ["-x", "c", "-", "-o", join(sandbox.dir, "getpgid")], {
    input: "#include <unistd.h>\nint main(void) { for (int at = 0; at < 5; at++) getpgid(0); return 0; }",
  });
  execFileSync(join(sandbox.dir, "getpgid"));
  assert.ok((await count(port)) >= before + 5n);
  const { links } = await port.inventory();
  assert.equal(links.find((link) => link.ours !== undefined)?.target, "perf_event sys_enter_getpgid");
  await port.removeEverything();
});

test("NodeKernel says that this kernel refuses programs on its functions, where it does", async () => {
  const watching = sandbox.compile("fentry");
  const bpffsDir = await sandbox.bpffs();
  const port = await NodeKernel.open({ bpffsDir, loadObject: async () => watching });
  const digest = createHash("sha256").update(watching).digest("hex");
  const spec: ProgramSpec = {
    key: "test/watch",
    name: "watch",
    type: "tracing",
    object: { name: "fentry", digest },
    entry: "watch_exit",
    globals: {},
    maps: {},
  };
  const member = { program: spec.key, priority: 0, proceedOn: [] };
  const point: HookPoint = { hook: "fentry", function: "do_exit", member: spec.key };
  const attachments = [{ point, member }];
  const plan = assemblePlan([{ maps: [], programs: [spec], attachments, instances: [], problems: [] }]);
  const elsewhere = (attachTarget: string): NodePlan => ({ ...plan, programs: [{ ...spec, attachTarget }] });
  const absent = await apply(port, elsewhere("no_such_function"));
  assert.match(absent.failed.join(), /this kernel has no function no_such_function that can be watched/);
  const other = await apply(port, elsewhere("do_group_exit"));
  if (other.failed.length > 0) assert.match(other.failed.join(), /this kernel refuses programs on its functions/);
  const { failed } = await apply(port, plan);
  if (failed.length > 0) assert.match(failed.join(), /this kernel refuses programs on its functions/);
  else assert.equal((await port.observe()).hooks[0]?.result.mode, "fentry");
  await port.removeEverything();
});
