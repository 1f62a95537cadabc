import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { bytecode, type BytecodeIntent } from "@bpfleet/features";
import {
  applyActions,
  assemblePlan,
  diffPlan,
  emptyJournal,
  mapIdentity,
  observePlan,
  type ItemResult,
  type NodeFacts,
  type NodePlan,
} from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import { BpfMap, NodeKernel } from "@bpfleet/native";
import { KernelSandbox } from "@bpfleet/native/testing";
import { BytecodeWatch } from "./bytecode-watch.ts";
import { earlierPlansOf, seeMaps } from "./earlier-plans.ts";

const sandbox = new KernelSandbox();
after(() => sandbox[Symbol.asyncDispose]());
const sources = new URL("../../../features/src/bytecode/testdata/", import.meta.url).pathname;
const headers = new URL("../../../../build/include", import.meta.url).pathname;

function compile(name: string, ...flags: string[]): string {
  const object = join(sandbox.dir, `${name}.o`);
  const multiarch = `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const input = join(sources, "counter.bpf.c");
  execFileSync("clang", [
    "-target",
    "bpf",
    "-O2",
    "-g",
    `-I${headers}`,
    multiarch,
    ...flags,
    "-c",
    input,
    "-o",
    object,
  ]);
  return object;
}

const counter = compile("counter");
const wide = compile("wide", "-DWIDE");
const broken = compile("broken", "-DBROKEN");

type Wish = Partial<BytecodeIntent> & { readonly name: string; readonly file?: string };

/** A node as daemon and agent make one together, over a kernel of its own. */
class Node implements AsyncDisposable {
  readonly far: string;
  readonly bpffs: string;
  readonly near: { readonly name: string; readonly path: string };
  readonly kernel: NodeKernel;
  readonly watch: BytecodeWatch;
  readonly cgroup: string;
  plan: NodePlan = assemblePlan([]);
  #facts: NodeFacts;
  #wake: () => void = () => undefined;

  private constructor(pair: ReturnType<KernelSandbox["pair"]>, bpffs: string) {
    this.far = pair.far.name;
    this.near = pair.near;
    this.bpffs = bpffs;
    this.cgroup = sandbox.cgroup() ?? "";
    this.watch = new BytecodeWatch({
      store: join(sandbox.dir, `store-${pair.near.name}`),
      pollMs: 20,
      onChange: () => this.#wake(),
      onTrouble: (error) => assert.fail(String(error)),
    });
    this.kernel = undefined as unknown as NodeKernel;
    this.#facts = nodeFacts({
      interfaces: ["v0", "lo"].map((name, index) => interfaceFacts(name, { ifindex: index + 1 })),
      cgroups: { [this.cgroup]: "1" },
      bpffs: [bpffs],
      pinRoot: bpffs,
    });
  }

  static async start(): Promise<Node> {
    const pair = sandbox.pair();
    const node = new Node(pair, await sandbox.bpffs());
    const kernel = await NodeKernel.open({
      bpffsDir: node.bpffs,
      netns: pair.near.path,
      loadObject: (name) => node.watch.load(name),
      pinAccess: { group: 4242, mode: 0o640 },
    });
    return Object.assign(node, { kernel });
  }

  /** Declares these, waits until their objects are read, and makes the plan true. */
  async declare(...wishes: readonly Wish[]): Promise<{ problems: readonly string[]; failed: readonly ItemResult[] }> {
    const intents = wishes.map(intentOf);
    this.watch.watch(
      intents.map(({ source }) => source),
      {},
    );
    while (Object.values(this.watch.facts()).some(({ state }) => state === "fetching"))
      await new Promise<void>((wake) => (this.#wake = wake));
    const { plan: before } = this;
    const known = {
      ...this.#facts,
      bytecode: this.watch.facts(),
      earlierPlans: earlierPlansOf(before),
      seenMaps: seeMaps(this.#facts.seenMaps ?? {}, before),
    };
    this.#facts = known;
    this.plan = assemblePlan([bytecode.plan(intents, known)]);
    const { plan, kernel } = this;
    const observed = await observePlan(kernel, plan);
    const { results } = await applyActions(diffPlan(plan, observed, emptyJournal), kernel, { plan, observed });
    return {
      problems: plan.problems.map(({ reason, message }) => `${reason}: ${message}`),
      failed: results.filter(({ state }) => state !== "in-force"),
    };
  }

  async good(...wishes: readonly Wish[]): Promise<void> {
    assert.deepEqual(await this.declare(...wishes), { problems: [], failed: [] });
    const observed = await observePlan(this.kernel, this.plan);
    const again = diffPlan(this.plan, observed, emptyJournal).filter((action) => action.do !== "inline-hook");
    assert.deepEqual(again, [], "nothing is left to do");
  }

  /** Packets that a config's first map counted. */
  async packets(config: string): Promise<number> {
    const spec = this.plan.maps.find(({ owner }) => owner?.name === config);
    assert.ok(spec);
    const entries = await this.kernel.readMap(mapIdentity(spec));
    assert.ok(entries);
    return Number(new DataView(entries.values.buffer, entries.values.byteOffset).getBigUint64(0, true));
  }

  pinOf(config: string): string {
    return this.plan.maps.find(({ owner }) => owner?.name === config)?.pinPath ?? "";
  }

  send(count: number): void {
    sandbox.sendUdp(this.far, "10.9.0.1", count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kernel.removeEverything();
    await this.watch[Symbol.asyncDispose]();
  }
}

function intentOf({ name, file = counter, ...more }: Wish): BytecodeIntent {
  const origin = { object: { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name }, path: "/spec" };
  return {
    feature: "bytecode",
    origin,
    source: { from: "file", path: file },
    section: "pass",
    at: { hook: "xdp", interfaces: { names: ["v0"] } },
    priority: 50,
    proceedOn: [2],
    globals: {},
    sharedMaps: {},
    ...more,
  };
}

const globals = (values: Readonly<Record<string, number | string | boolean>>): Pick<BytecodeIntent, "globals"> => ({
  globals: Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, { value, origin: intentOf({ name: "x" }).origin }]),
  ),
});

function mapIdAt(path: string): number {
  using map = BpfMap.openPinned(path);
  return map.info.id;
}

test("bytecode counts and drops real packets, keeps maps over upgrades, and says when it cannot", async () => {
  await using node = await Node.start();
  await node.good({ name: "a" });
  const before = await node.packets("a");
  node.send(5);
  assert.ok((await node.packets("a")) >= before + 5);
  const pin = node.pinOf("a");
  assert.match(pin, /\/maps\/[0-9a-f-]{36}\/stats$/);
  const id = mapIdAt(pin);
  assert.equal(statSync(pin).mode & 0o777, 0o640);
  assert.deepEqual([statSync(join(pin, "..")).mode & 0o777, statSync(join(pin, "..")).gid], [0o750, 4242]);

  // Other globals are another program over the same map.
  const counted = await node.packets("a");
  await node.good({ name: "a", ...globals({ step: 10, verdict: 2 }) });
  assert.equal(mapIdAt(pin), id);
  node.send(3);
  assert.ok((await node.packets("a")) >= counted + 30);

  // A section that the verifier refuses: the earlier program goes on.
  const kept = await node.packets("a");
  const refused = await node.declare({ name: "a", file: broken, section: "broken" });
  assert.deepEqual(refused.problems, []);
  assert.match(refused.failed.find(({ item }) => item === "program")?.error?.message ?? "", /the verifier refused it/);
  assert.match(refused.failed.find(({ item }) => item === "hook")?.error?.message ?? "", /waits for/);
  node.send(3);
  assert.ok((await node.packets("a")) >= kept + 30, "with its globals");

  // Wider records cannot be kept.
  const changed = await node.declare({ name: "a", file: wide });
  assert.deepEqual(changed.failed, []);
  assert.deepEqual(changed.problems, [
    "MapChanged: map stats changed: value 16 → 24 bytes, field errors added; it is made anew for this version of the program, without what it held",
  ]);
  assert.notEqual(mapIdAt(pin), id);

  // A section that is not there leaves what runs.
  const missing = await node.declare({ name: "a", file: wide, section: "nothing" });
  assert.match(missing.problems[0] ?? "", /^SectionNotFound: Unable to find a valid program with section name nothing/);
  assert.match(missing.problems[1] ?? "", /^EarlierInForce/);
  assert.deepEqual(missing.failed, []);
  await node.good();
  assert.equal(existsSync(join(pin, "..")), false, "the folder of the UUID went with its maps");
});

test("bytecode runs fourteen programs of one section on one hook by their priorities, and two of one config elsewhere", async () => {
  await using node = await Node.start();
  const names = Array.from({ length: 14 }, (_, at) => `p${String(at).padStart(2, "0")}`);
  const all = names.map((name, at): Wish => ({ name, priority: 100 - at }));
  await node.good(...all);
  node.send(4);
  for (const name of names) assert.ok((await node.packets(name)) >= 4, name);
  // The fifth to run drops everything: those behind it see no more.
  const dropping = all.map((wish) => (wish.name === "p09" ? { ...wish, ...globals({ verdict: 1 }) } : wish));
  await node.good(...dropping);
  const [ahead, behind] = [await node.packets("p10"), await node.packets("p08")];
  sandbox.ip(node.far, "neigh", "replace", "10.9.0.1", "lladdr", macOf(node), "dev", "v0");
  node.send(6);
  assert.ok((await node.packets("p10")) >= ahead + 6);
  assert.equal(await node.packets("p08"), behind);
});

test("bytecode runs on tc, cgroups and raw tracepoints, and shares a map between configs", async () => {
  await using node = await Node.start();
  const origin = intentOf({ name: "x" }).origin;
  const tc: Wish = {
    name: "tc",
    at: { hook: "tc", direction: "ingress", interfaces: { names: ["v0"] } },
    proceedOn: [-1, 3],
    ...globals({ verdict: 3 }),
  };
  await node.good(
    tc,
    { ...tc, name: "tc-second", sharedMaps: { stats: { config: "tc", origin } } },
    {
      name: "cgroup",
      section: "pass_skb",
      at: { hook: "cgroup", attach: "egress", pods: [{ namespace: "n", pod: "p", path: node.cgroup }] },
      ...globals({ verdict: 1 }),
    },
    { name: "calls", section: "count_calls", at: { hook: "raw_tracepoint", name: "sys_enter" } },
  );
  const before = await node.packets("tc");
  node.send(5);
  assert.ok((await node.packets("tc")) >= before + 10, "both count in one map");
  assert.ok((await node.packets("calls")) > 0);
  execFileSync("sh", ["-c", `echo $$ > ${node.cgroup}/cgroup.procs; ping -c1 -W1 127.0.0.1 >/dev/null`]);
  assert.ok((await node.packets("cgroup")) > 0);
  await node.good();
});

test("bytecode is upgraded under traffic without one packet that is not filtered and none that is not counted", async () => {
  await using node = await Node.start();
  const drop = (step: string): Wish => ({ name: "gate", ...globals({ verdict: 1, label: step }) });
  await node.good(drop("x0"));
  sandbox.ip(node.far, "neigh", "replace", "10.9.0.1", "lladdr", macOf(node), "dev", "v0");
  const listener = spawn(
    "ip",
    [
      "netns",
      "exec",
      node.near.name,
      process.execPath,
      "-e",
      `const s = require("node:dgram").createSocket("udp4"); let got = 0; s.on("message", () => got++);
       s.bind(9, "10.9.0.1", () => console.log("ready")); process.stdin.on("end", () => { console.log(got); process.exit(); }).resume();`,
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  using children = new DisposableStack();
  children.defer(() => listener.kill());
  let heard = "";
  listener.stdout.on("data", (text) => (heard += String(text)));
  await once(listener.stdout, "data");
  const before = await node.packets("gate");
  const sender = spawn(
    "ip",
    [
      "netns",
      "exec",
      node.far,
      process.execPath,
      "-e",
      `const s = require("node:dgram").createSocket("udp4"); let sent = 0, stop = false; process.stdin.on("end", () => (stop = true)).resume();
       const next = () => { if (stop) { console.log(sent); s.close(); process.exit(); } let left = 50; for (let i = 0; i < 50; i++) s.send("x", 9, "10.9.0.1", (e) => { if (!e) sent++; if (--left === 0) setImmediate(next); }); }; next();`,
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  children.defer(() => sender.kill());
  let sent = "";
  sender.stdout.on("data", (text) => (sent += String(text)));
  for (let swap = 1; swap <= 60; swap++) {
    const wishes = swap % 2 === 0 ? [drop(`x${swap}`)] : [drop(`x${swap}`), { name: "behind", priority: 60 }];
    assert.deepEqual((await node.declare(...wishes)).failed, []);
  }
  sender.stdin.end();
  await once(sender, "close");
  const counted = (await node.packets("gate")) - before;
  listener.stdin.end();
  await once(listener, "close");
  assert.ok(Number(sent) > 1000, sent);
  assert.equal(heard.trim(), "ready\n0", "no packet came through");
  assert.ok(counted >= Number(sent), `${counted} of ${sent.trim()} are counted`);
  assert.ok(counted <= Number(sent) + 100);
});

test("bytecode follows a file that is replaced", async () => {
  await using node = await Node.start();
  const path = join(sandbox.dir, "followed.o");
  writeFileSync(path, "no object");
  const bad = await node.declare({ name: "a", file: path });
  assert.match(bad.problems[0] ?? "", /^NotAnObject: /);
  execFileSync("cp", [counter, `${path}.next`]);
  renameSync(`${path}.next`, path);
  while (Object.values(node.watch.facts()).every(({ state }) => state !== "ready"))
    await new Promise((wake) => setTimeout(wake, 10));
  await node.good({ name: "a", file: path });
});

function macOf(node: Node): string {
  const [link] = JSON.parse(sandbox.ip(node.near.name, "-j", "link", "show", "dev", "v0")) as { address: string }[];
  return link?.address ?? "";
}
