import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, describe, it } from "node:test";
import { syncAgent } from "@bpfleet/agent";
import { BpfMap } from "@bpfleet/native";
import { bytecodeAbsence, BytecodeNode, causeOf, pinsOf, readNumbers, type ProgramObject } from "./bytecode-node.ts";

const etherType = 0x88b5;
const sender = join(import.meta.dirname, "../../packages/native/testdata/send-frames.c");

function mapIdAt(pin: string): number {
  using map = BpfMap.openPinned(pin, { readOnly: true });
  return map.info.id;
}

const noteOf = (program: ProgramObject): string =>
  program.status?.conditions?.find(({ type }) => type === "Note")?.message ?? "";

interface Wish {
  readonly tag?: string;
  readonly priority?: number;
  readonly proceedOn?: string;
  readonly globals?: string;
}

describe("an upgrade of a running program", { skip: bytecodeAbsence ?? false }, async () => {
  if (bytecodeAbsence !== undefined) return;
  const node = await BytecodeNode.make();
  after(() => node[Symbol.asyncDispose]());
  for (const [tag, flags] of [
    ["v1", []],
    ["v2", ["-DVERSION2"]],
    ["wide", ["-DWIDE"]],
    ["broken", ["-DBROKEN"]],
  ] as const)
    await node.push(`quay.io/bpfd-bytecode/owners:${tag}`, node.image(flags));
  const tracing = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing";
  await node.node.up(tracing);
  const sendFrames = join(node.bench.directory, "send-frames");
  execFileSync("clang", ["-O2", sender, "-o", sendFrames]);

  /** Drops everything, so that a packet that the host sees went unfiltered. */
  const config = (wish: Wish = {}): string => {
    const { tag = "v1", priority = 50, proceedOn = "[PASS]", globals = "{ verdict: 1 }" } = wish;
    return `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: guard }
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: eth0, priority: ${priority}, proceedon: ${proceedOn} } }
  bytecode: image://quay.io/bpfd-bytecode/owners:${tag}
  globals: ${globals}
`;
  };

  const witness = `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: witness }
spec:
  name: classifier
  type: TC
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: eth0, priority: 0, direction: INGRESS } }
  bytecode: image://quay.io/bpfd-bytecode/owners:v1
`;

  const counted = (program: ProgramObject): bigint => {
    using map = BpfMap.openPinned(pinsOf(program)["stats"] ?? "", { readOnly: true });
    return map.getRaw(Buffer.alloc(4))?.readBigUInt64LE() ?? 0n;
  };
  const mapId = (program: ProgramObject): number => mapIdAt(pinsOf(program)["stats"] ?? "");
  const attached = (): number => {
    const [link] = JSON.parse(node.ip("-j", "-d", "link", "show", "eth0")) as { xdp?: { prog?: { id: number } } }[];
    return link?.xdp?.prog?.id ?? 0;
  };

  it("meets every packet with the old program or the new one, and keeps what the maps hold", async () => {
    await node.apply(config());
    const first = await node.current("guard", "Loaded");
    // Behind it: counts what gets past.
    await node.apply(witness);
    const behind = await node.current("witness", "Loaded");
    const before = counted(behind);
    const child = spawn("ip", [
      "netns",
      "exec",
      node.client,
      sendFrames,
      String(node.clientIfindex),
      String(etherType),
      "60",
    ]);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    await lines.next();
    const changes: readonly Wish[] = [
      { tag: "v2" },
      { tag: "v2", priority: 7 },
      { tag: "v2", priority: 7, proceedOn: "[PASS, TX]" },
      { tag: "v2", priority: 7, globals: "{ verdict: 1, id: 3 }" },
      { tag: "v1" },
    ];
    for (const change of changes) {
      await node.apply(config(change));
      const seen = counted(first);
      await node.until("packets go on being counted", () => counted(first) > seen);
      await node.current("guard", "Loaded", () => true);
    }
    child.kill("SIGTERM");
    const sent = BigInt(String((await lines.next()).value));
    await once(child, "exit");
    assert.equal(counted(behind), before, "packets that went unfiltered");
    const last = await node.current("guard", "Loaded");
    assert.deepEqual(pinsOf(last), pinsOf(first));
    await node.until("each packet was counted once", () => counted(last) >= sent);
    assert.equal(counted(last) - sent < 20n, true, "only what the stacks say by themselves comes beside");
    await node.remove("witness");
  });

  it("that changes a map's layout says which one and how, and begins it anew", async () => {
    const before = await node.current("guard", "Loaded");
    const id = mapId(before);
    await node.apply(config({ tag: "wide", globals: "{ verdict: 2 }" }));
    const wide = await node.current("guard", "Loaded", (program) => noteOf(program).includes("map stats changed"));
    assert.match(
      noteOf(wide),
      /^map stats changed: .*rx_errors.*; it is made anew for this version of the program, without what it held/,
    );
    assert.deepEqual(pinsOf(wide), pinsOf(before));
    await node.until("the pin leads to the new map", () => mapId(wide) !== id);
    await node.apply(config({ globals: "{ verdict: 2 }" }));
    await node.current("guard", "Loaded", (program) => /rx_errors/.test(noteOf(program)));
    await syncAgent(node.node.agentSocket);
  });

  it("says which variables began anew with the other program, for they are no map", async () => {
    const note = /^(?:.*; )?variables calls_mark, calls began anew|^(?:.*; )?variables calls, calls_mark began anew/;
    const before = await node.current("guard", "Loaded", (program) => note.test(noteOf(program)));
    assert.match(noteOf(before), /what is to outlive an upgrade belongs in a map/);
  });

  it("that the verifier refuses leaves the old one at work, and says so", async () => {
    await syncAgent(node.node.agentSocket);
    const pin = pinsOf(await node.current("guard", "Loaded"))["stats"] ?? "";
    const [before, id] = [attached(), mapIdAt(pin)];
    await node.apply(config({ tag: "broken", globals: "{}" }));
    const refused = await node.current("guard", "NotLoaded");
    assert.match(causeOf(refused), /verifier/);
    assert.match(noteOf(refused), /until it loads the earlier program goes on, with its maps, on xdp\/eth0/);
    assert.equal(attached(), before);
    assert.equal(mapIdAt(pin), id);
    assert.equal(node.ping(3), 3);
  });

  it("to another interface leaves the old one at work until it runs at the new one", async () => {
    node.ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth1-far");
    const before = attached();
    const at = (name: string, wish: Wish): string => config(wish).replace("interface: eth0", `interface: ${name}`);
    await node.apply(at("eth1", { tag: "broken", globals: "{}" }));
    const refused = await node.current("guard", "NotLoaded", (program) => causeOf(program).includes("verifier"));
    assert.match(noteOf(refused), /until it runs at its new place the earlier program goes on at the old one/);
    assert.equal(attached(), before);
    await node.node.stop("SIGKILL");
    await node.node.up(tracing);
    await node.current("guard", "NotLoaded", (program) => causeOf(program).includes("verifier"));
    await syncAgent(node.node.agentSocket);
    assert.equal(attached(), before);
    await node.apply(at("eth2", { globals: "{ verdict: 2 }" }));
    await node.current("guard", "NotLoaded", (program) => causeOf(program).includes("Invalid Interface"));
    assert.equal(attached(), before);
    await node.apply(at("eth1", { globals: "{ verdict: 2 }" }));
    await node.until("it left eth0", () => attached() === 0);
    const moved = await node.current("guard", "Loaded", (program) => Object.keys(program.spec.programs).length === 1);
    assert.ok(node.ip("-d", "link", "show", "eth1").includes("prog/xdp"));
    assert.doesNotMatch(noteOf(moved), /goes on at the old one/);
    await node.apply(config({ globals: "{ verdict: 2 }" }));
    await node.until("it left eth1", () => !node.ip("-d", "link", "show", "eth1").includes("prog/xdp"));
    await node.current("guard", "Loaded");
    assert.notEqual(attached(), 0);
    node.ip("link", "delete", "eth1");
  });

  it("that is a config of another name says so when it does not load and the old one is deleted", async () => {
    await node.apply(config({ tag: "broken", globals: "{}" }).replace("name: guard", "name: successor"));
    await node.current("successor", "NotLoaded");
    assert.notEqual(attached(), 0);
    await node.node.do("delete", "bpfprogramconfig", "guard");
    const alone = await node.current("successor", "NotLoaded", (program) => noteOf(program) !== "");
    assert.match(causeOf(alone), /verifier/);
    assert.equal(
      noteOf(alone),
      "nothing runs on xdp/eth0 until it loads: whatever ran there before was deleted or never was",
    );
    assert.equal(attached(), 0);
    assert.equal(node.ping(3), 3);
    await node.remove("successor");
    await node.apply(config({ globals: "{ verdict: 2 }" }));
    await node.current("guard", "Loaded");
  });

  it("to an image or a global that does not exist leaves the old one at work too", async () => {
    const before = attached();
    await node.apply(config({ tag: "absent", globals: "{ verdict: 2 }" }));
    await node.current("guard", "NotLoaded", (program) => causeOf(program).includes("404 MANIFEST_UNKNOWN"));
    assert.equal(attached(), before);
    for (const [globals, cause] of [
      ["{ verdikt: 2 }", /verdikt/],
      ["{ verdict: 4294967296 }", /verdict/],
    ] as const) {
      await node.apply(config({ globals }));
      await node.current("guard", "NotLoaded", (program) => cause.test(causeOf(program)));
      assert.equal(attached(), before);
    }
    await node.apply(config({ globals: "{ verdict: 2 }" }));
    await node.current("guard", "Loaded");
    assert.equal(node.ping(3), 3);
    await node.remove("guard");
  });

  it("needs no interface: the sample of a tracepoint counts system calls", async () => {
    await node.apply(`apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: tracepoint-example }
spec:
  name: hello
  type: TRACEPOINT
  nodeselector: {}
  attachpoint: { singleattach: { name: syscalls/sys_enter_openat } }
  bytecode: image://quay.io/bpfd-bytecode/owners:v1
`);
    const loaded = await node.current("tracepoint-example", "Loaded");
    const seen = counted(loaded);
    node.inside("cat", "/dev/null");
    assert.ok(counted(loaded) > seen);
    const isListed = async (): Promise<boolean> =>
      (await node.node.do("prog", "list", "--ours")).includes("syscalls/sys_enter_openat");
    assert.ok(await isListed());
    await node.remove("tracepoint-example");
    await node.until("it is listed no more", async () => !(await isListed()));
  });
});

describe("an image with pull policy Always", { skip: bytecodeAbsence ?? false }, async () => {
  if (bytecodeAbsence !== undefined) return;

  it("is asked for again by itself: another one is swapped in, and without its registry it runs on and says so", async () => {
    await using node = await BytecodeNode.make();
    const name = "quay.io/bpfd-bytecode/owners:latest";
    const first = await node.push(name, node.image());
    await node.node.up("", "--image-check", "1");
    await node.apply(`apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: moving }
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: eth0, priority: 50 } }
  bytecode: { image: { url: "${name}", imagepullpolicy: Always } }
`);
    const pin = pinsOf(await node.current("moving", "Loaded"))["stats"] ?? "";
    const runs = async (digest: string): Promise<boolean> =>
      (await node.node.do("prog", "list", "--ours", "-o", "json")).includes(digest);
    assert.ok(await runs(first));
    const [id, counted] = [mapIdAt(pin), node.ping(5)];
    assert.equal(counted, 5);

    const second = await node.push(name, node.image(["-DVERSION2"]));
    assert.notEqual(second, first);
    await node.until("the other image runs", () => runs(second));
    assert.equal(mapIdAt(pin), id, "the maps stay");
    assert.ok((readNumbers(pin, 1)[0] ?? 0n) >= 5n);
    assert.equal(node.ping(3), 3);

    await node.serve("quay.io", false);
    const away = await node.current("moving", "Loaded", (program) => noteOf(program).includes("ECONNREFUSED"));
    assert.match(
      noteOf(away),
      /bpfd-bytecode\/owners .*ECONNREFUSED.*; what was there before \(sha256:[0-9a-f]{12}\) goes on/,
    );
    assert.ok(await runs(second));
    assert.equal(node.ping(3), 3);
    await node.serve("quay.io", true);
    await node.current("moving", "Loaded", (program) => !noteOf(program).includes("ECONNREFUSED"));

    await node.push(name, node.image(["-DBROKEN"]));
    const refused = await node.current("moving", "NotLoaded");
    assert.match(causeOf(refused), /verifier/);
    assert.ok(await runs(second));
    assert.equal(node.ping(3), 3);
  });
});
