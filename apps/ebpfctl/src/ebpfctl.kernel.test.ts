import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { encodePacket } from "./packet/packet.ts";
import { parseAddress } from "./packet/address.ts";
import { NodeBench, type RunningCommand } from "./testing/node-bench.ts";

const samples = join(import.meta.dirname, "../../../packages/kinds/src/networking.fos1.io");
const programFile = join(samples, "ebpfprogram/samples/xdp-packet-filter.yaml");
const mapFile = join(samples, "ebpfmap/samples/blacklist-map.yaml");

let bench: NodeBench;
let up: RunningCommand;

before(async () => {
  bench = await NodeBench.start();
  up = bench.spawn("up");
  await up.says(/^ready in \d+ ms: .* has 0 objects, commands reach /m);
});
after(async () => {
  await bench[Symbol.asyncDispose]();
});

interface Entry {
  readonly key: unknown;
}

/** Every map of ours with everything in it. */
async function dumpMaps(): Promise<Record<string, unknown>> {
  const maps = JSON.parse(await bench.do("map", "list", "--ours", "-o", "json")) as {
    id: number;
    type: string;
    ours: string;
  }[];
  const dumps = maps
    .filter(({ type }) => type !== "ringbuf")
    .map(({ id, ours }) => [
      `${ours} ${id}`,
      (JSON.parse(bench.onNode("bpftool", "-j", "map", "dump", "id", String(id))) as Entry[]).toSorted((a, b) =>
        JSON.stringify(a.key) < JSON.stringify(b.key) ? -1 : 1,
      ),
    ]);
  return Object.fromEntries(dumps) as Record<string, unknown>;
}

function lineOf(file: string, text: string): number {
  return (
    readFileSync(file, "utf8")
      .split("\n")
      .findIndex((line) => line.includes(text)) + 1
  );
}

test("apply puts the document's program and map into force, unmodified, and packets are dropped", async () => {
  assert.equal(bench.ping("10.10.10.7"), 3);
  assert.equal(
    await bench.do("apply", "-f", programFile, "-f", mapFile, "--wait"),
    "ebpfprogram.networking.fos1.io/xdp-packet-filter created\nebpfmap.networking.fos1.io/blacklist-map created\n",
  );
  assert.equal(bench.ping("10.0.0.2"), 3);
  assert.equal(bench.ping("10.10.10.7"), 0);
  assert.equal(bench.ping("192.168.1.100"), 0);
  assert.equal(await bench.sendDatagrams("10.0.0.2", 20), 20);
  assert.equal(await bench.sendDatagrams("10.10.10.7", 20), 0);
});

test("get and describe tell the state and what was counted", async () => {
  assert.match(await bench.do("get", "ebpf"), /^xdp-packet-filter +xdp +eth0 +Active +\d+s$/m);
  assert.match(await bench.do("get", "ebpfmaps"), /^blacklist-map +lpm_trie +1024 +1 +Created +\d+s$/m);
  const description = await bench.do("describe", "ebpfprogram", "xdp-packet-filter");
  assert.match(description, /^ {2}Attached To: +eth0$/m);
  assert.match(description, /^ {6}Rule: +10\.10\.10\.0\/24$/m);
  assert.match(description, /^ {2}Normal +Attached /m);
  const { status } = JSON.parse(await bench.do("get", "ebpf/xdp-packet-filter", "-o", "json")) as {
    status: { metrics: { packetsDropped: number; rules: { rule: string; packets: number }[] } };
  };
  assert.deepEqual(
    status.metrics.rules.map(({ rule, packets }) => [rule, packets]),
    [
      ["10.10.10.0/24", 23],
      ["192.168.1.100", 3],
    ],
  );
  assert.equal(status.metrics.packetsDropped, 26);
});

test("explain names rule, object and line, and leaves every map as it was", async () => {
  const before = await dumpMaps();
  const dropped = await bench.run(
    "explain",
    "--interface",
    "eth0",
    "--from",
    "10.10.10.7",
    "--proto",
    "udp",
    "--dport",
    "53",
  );
  assert.equal(dropped.exitCode, 3, dropped.err);
  assert.match(dropped.out, /^10\.10\.10\.7:40000 > 10\.0\.0\.1:53 udp, 42 bytes$/m);
  assert.match(dropped.out, /^ {4}EBPFProgram default\/xdp-packet-filter: XDP_DROP$/m);
  assert.ok(dropped.out.includes(`${programFile}:${lineOf(programFile, "10.10.10.0/24")}`), dropped.out);
  assert.match(dropped.out, /^verdict: drop \(XDP_DROP\)$/m);
  const passed = await bench.run("explain", "--from", "10.0.0.2", "--to", "10.0.0.1", "--dport", "80", "--vlan", "7");
  assert.equal(passed.exitCode, 0, passed.err);
  assert.match(passed.out, /^verdict: pass \(XDP_PASS\)$/m);
  assert.deepEqual(await dumpMaps(), before);
});

test("explain reads a capture, and answers scripts in JSON", async () => {
  const mac = new Uint8Array(6);
  const packetFrom = (from: string) =>
    encodePacket({
      sourceMac: mac,
      destinationMac: mac,
      vlans: [],
      from: parseAddress(from) ?? assert.fail(),
      to: parseAddress("10.0.0.1") ?? assert.fail(),
      protocol: "udp",
      sourcePort: 1,
      destinationPort: 2,
      tcpFlags: [],
      hopLimit: 64,
      dscp: 0,
    });
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt32LE(1, 20);
  const records = ["192.168.1.100", "10.0.0.2"].flatMap((from) => {
    const frame = packetFrom(from);
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return [record, frame];
  });
  writeFileSync(join(bench.directory, "two.pcap"), Buffer.concat([header, ...records]));
  const { exitCode, out } = await bench.run("explain", "--pcap", "two.pcap", "-o", "json");
  assert.equal(exitCode, 3);
  const { packets } = JSON.parse(out) as { packets: { verdict: string; packet: { from: string } }[] };
  assert.deepEqual(
    packets.map(({ verdict, packet }) => [packet.from, verdict]),
    [
      ["192.168.1.100", "drop"],
      ["10.0.0.2", "pass"],
    ],
  );
});

test("a prefix that bpftool adds to the live map blocks too, and explain names the map", async () => {
  assert.equal(bench.ping("203.0.113.9"), 3);
  bench.onNode(
    "bpftool",
    "map",
    "update",
    "pinned",
    "/sys/fs/bpf/blacklist",
    "key",
    "hex",
    "18",
    "00",
    "00",
    "00",
    "cb",
    "00",
    "71",
    "00",
    "value",
    "1",
    "0",
    "0",
    "0",
  );
  assert.equal(bench.ping("203.0.113.9"), 0);
  const { exitCode, out } = await bench.run("explain", "--from", "203.0.113.9");
  assert.equal(exitCode, 3);
  assert.match(out, /EBPFMap default\/blacklist-map|blacklist-map/);
  assert.match(await bench.do("get", "ebpfmaps"), /^blacklist-map +lpm_trie +1024 +2 +Created /m);
});

test("trace shows drops as they happen, with rule and line", async () => {
  const trace = bench.spawn("trace", "--drops", "--count", "2");
  const end = performance.now() + 15_000;
  while (!/10\.10\.10\.7 > 10\.0\.0\.1 icmp.*\n.*\n/.test(trace.out)) {
    assert.ok(performance.now() < end, `it showed: ${trace.out}${trace.err}`);
    bench.ping("10.10.10.7");
    await sleep(20);
  }
  assert.equal(await trace.ended(), 0);
  assert.match(
    trace.out,
    /^\d\d:\d\d:\d\d\.\d{3} drop eth0 10\.10\.10\.7 > 10\.0\.0\.1 icmp, 98 bytes: .*10\.10\.10\.0\/24.* \(EBPFProgram default\/xdp-packet-filter spec\.settings\.blacklist\.ips\[1\], .*:\d+\)$/m,
  );
});

test("diff says what an edit would change in the kernel, and nothing for what is in force", async () => {
  const same = await bench.run("diff", "-f", programFile, "-f", mapFile);
  assert.deepEqual([same.exitCode, same.out], [0, ""], same.err);
  const edited = readFileSync(programFile, "utf8").replace("10.10.10.0/24", "10.10.11.0/24");
  writeFileSync(join(bench.directory, "edited.yaml"), edited);
  const changed = await bench.run("diff", "-f", "edited.yaml");
  assert.equal(changed.exitCode, 1, changed.err);
  assert.match(changed.out, /^~ hook xdp\/eth0: /m);
  assert.match(changed.out, /^~ program filter\/default\/xdp-packet-filter\//m);
  assert.equal(bench.ping("10.10.10.7"), 0);
  writeFileSync(join(bench.directory, "bad.yaml"), edited.replace("xdp\n", "xpd\n"));
  assert.equal((await bench.run("diff", "-f", "bad.yaml")).exitCode, 2);
});

test("an edit is in force when apply --wait returns, and counts stay with their rules", async () => {
  await bench.do("apply", "-f", "edited.yaml", "--wait");
  assert.equal(bench.ping("192.168.1.100"), 0);
  const { status } = JSON.parse(await bench.do("get", "ebpf/xdp-packet-filter", "-o", "json")) as {
    status: { metrics: { rules: { rule: string; packets: number }[] } };
  };
  assert.deepEqual(status.metrics.rules.find(({ rule }) => rule === "192.168.1.100")?.packets, 6);
  await bench.do("apply", "-f", programFile, "--wait");
});

test("apply --wait fails with the reason when something cannot be served", async () => {
  writeFileSync(
    join(bench.directory, "later.yaml"),
    readFileSync(programFile, "utf8")
      .replace("interface: eth0", "interface: later0")
      .replace("name: xdp-packet-filter", "name: later"),
  );
  const run = await bench.run("apply", "-f", "later.yaml", "--wait=2s");
  await bench.do("delete", "ebpf", "later");
  assert.equal(run.exitCode, 1);
  assert.match(run.err, /^error: timed out waiting for 1 of 1 object$/m);
  assert.match(run.err, /^error: EBPFProgram default\/later: .*later\.yaml:\d+: .*later0/m);
});

test("prog, map and link list name what is ours", async () => {
  const programs = await bench.do("prog", "list", "--ours");
  assert.match(programs, /^\d+ +xdp +\S+ +filter\/default\/xdp-packet-filter\//m);
  assert.match(await bench.do("link", "list", "--ours"), /^\d+ +xdp +.*eth0 +\d+ +xdp\/eth0$/m);
  assert.match(await bench.do("map", "list", "--ours", "--no-headers"), /maps\/default\/blacklist-map/);
});

test("version tells what daemon and kernel are", async () => {
  const { daemon, kernel } = JSON.parse(await bench.do("version", "-o", "json")) as {
    daemon: { libbpf: string };
    kernel: { offers: Record<string, { has: boolean }> };
  };
  assert.match(daemon.libbpf, /^\d+\.\d+/);
  assert.equal(kernel.offers["btf"]?.has, true);
});

test("pause lets everything pass at once, resume brings it back", async () => {
  assert.match(await bench.do("pause"), /^paused: /);
  assert.equal(bench.ping("10.10.10.7"), 3);
  assert.match(await bench.do("get", "ebpf"), /Pending/);
  await bench.do("resume");
  assert.equal(bench.ping("10.10.10.7"), 0);
});

test("up can be killed: packets are dropped meanwhile, and the next one adopts what is there", async () => {
  // Without who holds them just now: the daemon itself looks at them from time to time.
  const links = async (): Promise<unknown> =>
    (JSON.parse(await bench.do("link", "list", "--ours", "-o", "json")) as object[]).map((link) => ({
      ...link,
      heldBy: [],
    }));
  const before = await links();
  await up.end("SIGKILL");
  assert.equal(bench.ping("10.10.10.7"), 0);
  const stale = await bench.run("get", "ebpf");
  assert.match(stale.out, /Active/);
  assert.match(stale.err, /^warning: ask the agent at .*start it with: ebpfctl up/);
  up = bench.spawn("up");
  await up.says(/^ready in \d+ ms: .* has 2 objects \(2 in-force\)/m);
  assert.deepEqual(await links(), before);
  assert.equal(await up.end("SIGTERM"), 0);
  assert.match(up.out, /what is in force stays in force/);
  assert.equal(bench.ping("10.10.10.7"), 0);
  up = bench.spawn("up");
  await up.says(/^ready/m);
});

test("a second up says who works there already", async () => {
  const second = bench.spawn("up");
  assert.equal(await second.ended(), 1);
  assert.match(second.err, /the daemon with pid \d+ works there already; stop it/);
});

test("delete takes everything out of the kernel again", async () => {
  assert.match(await bench.do("delete", "-f", programFile, "-f", mapFile), /deleted\n.*deleted\n/);
  assert.equal(bench.ping("10.10.10.7"), 3);
  assert.equal(await bench.do("prog", "list", "--ours", "--no-headers"), "");
  assert.equal(await bench.do("map", "list", "--ours", "--no-headers"), "");
});

test("cleanup refuses while a daemon runs, and removes everything without one", async () => {
  await bench.do("apply", "-f", programFile, "--wait");
  const refused = bench.spawn("cleanup");
  assert.equal(await refused.ended(), 1);
  assert.match(refused.err, /a daemon works there and would put everything back; stop it first/);
  await up.end("SIGKILL");
  assert.equal(bench.ping("10.10.10.7"), 0);
  const cleanup = bench.spawn("cleanup");
  assert.equal(await cleanup.ended(), 0, cleanup.err);
  assert.match(cleanup.out, /^removed \d+ hooks, \d+ programs, \d+ maps$/m);
  assert.equal(bench.ping("10.10.10.7"), 3);
  const once = bench.spawn("up", "--once");
  assert.equal(await once.ended(), 0, once.err);
  assert.equal(bench.ping("10.10.10.7"), 0);
  assert.equal(await bench.spawn("cleanup").ended(), 0);
});

test("cleanup unmounts the bpffs that up mounted, and leaves one of others", async () => {
  const kindOf = (path: string): string => bench.onNode("stat", "-f", "-c", "%T", path).trim();
  assert.equal(kindOf(bench.env.BPFLEET_BPFFS), "bpf_fs", "this one was there before up");
  const own = join(bench.directory, "own-fs");
  const at = async (...command: readonly string[]): Promise<void> => {
    const run = bench.spawn("--bpffs", own, ...command);
    assert.equal(await run.ended(), 0, run.err);
  };
  await at("up", "--once");
  assert.equal(kindOf(own), "bpf_fs");
  await at("cleanup");
  assert.notEqual(kindOf(own), "bpf_fs");
  await at("mount-bpffs", own);
  await at("cleanup");
  assert.notEqual(kindOf(own), "bpf_fs", "as the pods of a cluster mount it");
  bench.onNode("mount", "-t", "bpf", "bpf", own);
  await at("up", "--once");
  await at("cleanup");
  assert.equal(kindOf(own), "bpf_fs", "mounted by somebody else");
});
