import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { BpfProgram } from "@bpfleet/native";
import { bytecodeAbsence, BytecodeNode, causeOf, pinsOf, readNumbers } from "./bytecode-node.ts";

const pass = 2;
const drop = 1;

interface Wish {
  readonly priority?: number;
  readonly section?: string;
  readonly id?: number;
  readonly verdict?: number;
  readonly proceedOn?: string;
  readonly shares?: string;
}

describe("many programs on one interface", { skip: bytecodeAbsence ?? false }, async () => {
  if (bytecodeAbsence !== undefined) return;
  const node = await BytecodeNode.make();
  after(() => node[Symbol.asyncDispose]());
  await node.push("quay.io/bpfd-bytecode/owners:v1", node.image());
  await node.node.up();

  const xdp = (name: string, wish: Wish = {}): string => {
    const { priority = 50, section = "pass", id = 1, verdict = pass, proceedOn = "[PASS, DISPATCHER_RETURN]" } = wish;
    return `---
apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: ${name} }
spec:
  name: ${section}
  type: XDP
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: eth0, priority: ${priority}, proceedon: ${proceedOn} } }
  bytecode: image://quay.io/bpfd-bytecode/owners:v1
  globals: { id: ${id}, verdict: ${verdict} }
${wish.shares === undefined ? "" : `  sharedmaps: { trail: ${wish.shares} }`}
`;
  };

  /** The programs that the next packet meets, in their order. */
  const trailOf = async (holder: string): Promise<readonly number[]> => {
    const pin = pinsOf(await node.current(holder, "Loaded"))["trail"] ?? "";
    const before = readNumbers(pin, 32)[0] ?? 0n;
    node.ping(1);
    const [, ...marks] = readNumbers(pin, 32);
    return marks
      .map((turn, index) => ({ id: index + 1, turn }))
      .filter(({ turn }) => turn > before)
      .toSorted((a, b) => Number(a.turn - b.turn))
      .map(({ id }) => id);
  };

  const onEth0 = (): { id: number } | undefined => {
    const [link] = JSON.parse(node.ip("-j", "-d", "link", "show", "eth0")) as { xdp?: { prog?: { id: number } } }[];
    return link?.xdp?.prog;
  };

  /** Long before a refused attempt is made again by itself. */
  const atOnce = async (config: string, change: () => unknown): Promise<void> => {
    const started = performance.now();
    await change();
    await node.current(config, "Loaded");
    const took = performance.now() - started;
    assert.ok(took < 15_000, `${took} ms`);
  };

  const names = ["a-75", "b-50", "c-100", "d-25"];

  it("run by priority, whichever came first", async () => {
    const wishes = [75, 50, 100, 25].map((priority, index) =>
      xdp(names[index] ?? "", { priority, id: index + 1, ...(index > 0 && { shares: "a-75" }) }),
    );
    for (const wish of wishes) await node.apply(wish);
    await node.loaded(...names);
    assert.deepEqual(await trailOf("a-75"), [4, 2, 1, 3]);
    const listed = await node.node.do("get", "bpfprograms");
    for (const name of names) assert.match(listed, new RegExp(`^${name}-`, "m"));
  });

  it("are two programs though section and type are the same, and say whose image each is", async () => {
    const printed = JSON.parse(await node.node.do("prog", "list", "--ours", "-o", "json")) as {
      owner?: unknown;
      name: string;
    }[];
    const text = JSON.stringify(printed);
    for (const name of names) assert.match(text, new RegExp(name));
    assert.match(text, /sha256:[0-9a-f]{64}/);
  });

  it("take another order without a pause", async () => {
    await node.apply(xdp("c-100", { priority: 1, id: 3, shares: "a-75" }));
    await node.until("the order is another", async () => (await trailOf("a-75")).join() === "3,4,2,1");
  });

  it("run by name where the priority is equal", async () => {
    await node.apply(names.map((name, at) => xdp(name, { id: at + 1, ...(at > 0 && { shares: "a-75" }) })).join(""));
    await node.until("the order is that of names", async () => (await trailOf("a-75")).join() === "1,2,3,4");
  });

  it("end where a verdict is not in proceedon", async () => {
    await node.apply(xdp("b-50", { id: 2, shares: "a-75", proceedOn: "[TX]" }));
    await node.until("the third one runs no more", async () => (await trailOf("a-75")).join() === "1,2");
    assert.equal(node.ping(3), 3);
    await node.apply(xdp("b-50", { id: 2, shares: "a-75", verdict: drop }));
    await node.until("packets are dropped", () => node.ping(2) === 0);
    await node.apply(xdp("b-50", { id: 2, shares: "a-75" }));
    await node.until("all run again", async () => (await trailOf("a-75")).join() === "1,2,3,4");
  });

  it("go on when one config is broken: it says why, and starves nobody", async () => {
    await node.apply(xdp("aa-broken", { section: "absent", priority: 0 }));
    const refused = await node.current("aa-broken", "NotLoaded");
    assert.match(causeOf(refused), /^Unable to find a valid program with section name absent/);
    await node.apply(xdp("e-later", { id: 5, priority: 60, shares: "a-75" }));
    await node.loaded("e-later");
    assert.deepEqual(await trailOf("a-75"), [1, 2, 3, 4, 5]);
    const status = await node.node.do("get", "bpfprogramconfig", "aa-broken", "-o", "yaml");
    assert.match(status, /failed on the following bpfProgram Objects:\s+\[aa-broken-/);
    await node.remove("aa-broken", "e-later");
  });

  it("share the interface with a filter of another kind", async () => {
    await node.apply(`apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: { name: guard, namespace: default }
spec: { type: xdp, interface: eth0, settings: { blacklist: { enabled: true, ips: [10.0.0.9] } } }
`);
    await node.node.status<{ state?: string }>("guard", ({ state }) => state === "Active");
    assert.deepEqual(await trailOf("a-75"), [1, 2, 3, 4]);
    await node.node.do("delete", "ebpfprogram", "guard");
  });

  it("are more than ten", async () => {
    const more = Array.from({ length: 9 }, (_, at) => `m-${at}`);
    await node.apply(more.map((name, at) => xdp(name, { id: 10 + at, priority: 60 + at, shares: "a-75" })).join(""));
    await node.loaded(...more);
    assert.deepEqual(await trailOf("a-75"), [1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18]);
    await node.remove(...more);
    assert.deepEqual(await trailOf("a-75"), [1, 2, 3, 4]);
  });

  it("stay when the daemon is killed and the registry is away, without another program being loaded", async () => {
    const before = onEth0();
    const uuids = await Promise.all(names.map((name) => node.current(name, "Loaded").then((each) => each.spec)));
    await node.node.stop("SIGKILL");
    await node.serve("quay.io", false);
    assert.deepEqual(onEth0(), before);
    assert.equal(node.ping(3), 3);
    await node.node.up();
    const after = await Promise.all(names.map((name) => node.current(name, "Loaded").then((each) => each.spec)));
    assert.deepEqual(after, uuids);
    assert.deepEqual(onEth0(), before);
    assert.deepEqual(await trailOf("a-75"), [1, 2, 3, 4]);
    await node.serve("quay.io", true);
  });

  it("leave the interface as it was when all are deleted", async () => {
    await node.remove(...names.toReversed());
    await node.until("eth0 is free", () => onEth0() === undefined);
    await node.until("no map is pinned", () => !existsSync(join(node.node.bpffs, "maps")));
  });

  it("wait for an interface that is not there, and leave with it", async () => {
    await node.apply(xdp("late").replace("eth0", "late0"));
    assert.match(causeOf(await node.current("late", "NotLoaded")), /^Invalid Interface: attach to late0/);
    node.ip("link", "add", "late0", "type", "veth", "peer", "name", "late1");
    const first = await node.current("late", "Loaded");
    node.ip("link", "delete", "late0");
    await node.current("late", "NotLoaded");
    await atOnce("late", () => node.ip("link", "add", "late0", "type", "veth", "peer", "name", "late1"));
    assert.deepEqual((await node.current("late", "Loaded")).spec, first.spec);
    await node.remove("late");
  });

  it("leave a foreign program alone, and say who holds the interface", async () => {
    const object = join(node.bench.directory, "owners.o");
    const pin = join(node.node.bpffs, "foreign");
    node.inside("bpftool", "prog", "load", object, pin, "type", "xdp");
    node.inside("bpftool", "net", "attach", "xdp", "pinned", pin, "dev", "eth0");
    const foreign = onEth0();
    await node.apply(xdp("behind"));
    assert.match(causeOf(await node.current("behind", "NotLoaded")), new RegExp(`program.*\\b${foreign?.id}\\b`));
    assert.deepEqual(onEth0(), foreign);
    await node.remove("behind");
    assert.deepEqual(onEth0(), foreign);
    node.inside("bpftool", "net", "detach", "xdp", "dev", "eth0");
    rmSync(pin);
  });

  it("take the interface at once when a foreign program leaves it, with its link or without one", async () => {
    const pin = join(node.node.bpffs, "foreign");
    node.inside("bpftool", "prog", "load", join(node.bench.directory, "owners.o"), pin, "type", "xdp");
    node.inside("bpftool", "net", "attach", "xdp", "pinned", pin, "dev", "eth0");
    await node.apply(xdp("behind"));
    await node.current("behind", "NotLoaded");
    await atOnce("behind", () => node.inside("bpftool", "net", "detach", "xdp", "dev", "eth0"));
    assert.equal(node.ping(3), 3);
    await node.remove("behind");

    const ifindex = Number(node.inside("cat", "/sys/class/net/eth0/ifindex"));
    using program = BpfProgram.openPinned(pin);
    const link = await program.attach({ xdp: ifindex }, { inNetns: `/run/netns/${node.node.netns}` });
    await node.apply(xdp("behind"));
    await node.current("behind", "NotLoaded");
    // Says nothing to anybody.
    await atOnce("behind", () => link.close());
    await node.remove("behind");
    rmSync(pin);
  });
});

describe("a tc program behind a foreign filter", { skip: bytecodeAbsence ?? false }, async () => {
  if (bytecodeAbsence !== undefined) return;
  it("says who has its place, and takes it at once when it is left", async () => {
    await using node = await BytecodeNode.make();
    await node.push("quay.io/bpfd-bytecode/tc_pass:latest", node.image());
    const pin = join(node.node.bpffs, "foreign");
    node.inside("bpftool", "prog", "load", join(node.bench.directory, "owners.o"), pin, "type", "classifier");
    node.inside("tc", "qdisc", "add", "dev", "eth0", "clsact");
    const place = ["dev", "eth0", "ingress", "protocol", "all", "pref", "50"];
    node.inside("tc", "filter", "add", ...place, "handle", "2", "bpf", "da", "object-pinned", pin);
    await node.node.up("", "--legacy-tc");
    await node.apply(tcConfig("tc-0", 0, 1));
    assert.match(causeOf(await node.current("tc-0", "NotLoaded")), /program \d+ .*pref 50 handle 0x2/);
    const started = performance.now();
    node.inside("tc", "filter", "delete", ...place);
    await node.current("tc-0", "Loaded");
    assert.ok(performance.now() - started < 15_000);
    const foreign = ["dev", "eth0", "ingress", "protocol", "all", "pref", "10"];
    node.inside("tc", "filter", "add", ...foreign, "handle", "1", "bpf", "da", "object-pinned", pin);
    const listed = await node.node.do("link", "list", "-o", "json");
    assert.match(listed, /tc-ingress eth0 pref 10 handle 0x1/);
    assert.match(listed, /foreign program \d+ is on it too, by a filter/);
    rmSync(pin);
  });
});

describe("ten tc programs", { skip: bytecodeAbsence ?? false }, async () => {
  if (bytecodeAbsence !== undefined) return;
  for (const flags of [["--legacy-tc"], []] as const) {
    it(`are ${flags.length === 0 ? "one link" : "one filter"} in order, and nothing when they are deleted`, async () => {
      await using node = await BytecodeNode.make();
      await node.push("quay.io/bpfd-bytecode/tc_pass:latest", node.image());
      await node.node.up("", ...flags);
      const configs = Array.from({ length: 10 }, (_, at) => `tc-${at}`);
      const filters = (): string[] =>
        node
          .inside("tc", "filter", "show", "dev", "eth0", "ingress")
          .split("\n")
          .filter((line) => line.includes(" handle "));
      await node.apply(configs.map((name, at) => tcConfig(name, (at * 7) % 10, at + 1)).join(""));
      await node.loaded(...configs);
      const pin = pinsOf(await node.current("tc-0", "Loaded"))["trail"] ?? "";
      assert.equal(node.ping(1), 1);
      const [, ...marks] = readNumbers(pin, 11);
      const order = marks.map((turn, at) => ({ at, turn })).toSorted((a, b) => Number(a.turn - b.turn));
      assert.deepEqual(
        order.map(({ at }) => (at * 7) % 10),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      );
      assert.equal(filters().length, flags.length, filters().join("\n"));
      for (const filter of filters()) assert.match(filter, /^filter .*pref 50 bpf chain 0 handle 0x2 /);
      await node.remove(...configs);
      await node.until("no filter is left", () => filters().length === 0);
    });
  }
});

const tcSample = readFileSync(
  join(import.meta.dirname, "../../packages/kinds/src/bpfd.io/bpfprogramconfig/samples/tc-pass-all-nodes.yaml"),
  "utf8",
);

/** The sample, as one of several. */
function tcConfig(name: string, priority: number, id: number): string {
  const more = id === 1 ? "" : "  sharedmaps: { trail: tc-0 }\n";
  return `---\n${tcSample.replace("name: tc-pass-all-nodes", `name: ${name}`).replace("priority: 0", `priority: ${priority}`)}  globals: { id: ${id} }\n${more}`;
}
