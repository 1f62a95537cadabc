import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { NodeBench, type RunningCommand } from "../testing/node-bench.ts";

const samples = join(import.meta.dirname, "../../../../packages/kinds/src/networking.fos1.io");

let bench: NodeBench;
let up: RunningCommand;

before(async () => {
  bench = await NodeBench.start();
  up = bench.spawn("up");
  await up.says(/^ready in \d+ ms/m);
  await bench.do(
    "apply",
    "-f",
    join(samples, "ebpfprogram/samples/xdp-packet-filter.yaml"),
    "-f",
    join(samples, "ebpfmap/samples/blacklist-map.yaml"),
    "--wait",
  );
});
after(async () => {
  await bench[Symbol.asyncDispose]();
});

interface ListedMap {
  readonly id: number;
  readonly name: string;
  readonly type: string;
  readonly ours?: string;
  readonly use: { readonly memoryBytes: number; readonly entries?: number; readonly isFrozen: boolean };
}

async function listMaps(...flags: readonly string[]): Promise<readonly ListedMap[]> {
  return JSON.parse(await bench.do("map", "list", "-o", "json", ...flags)) as ListedMap[];
}

test("map dump, get, set and delete work on an EBPFMap by the name of its object", async () => {
  const map = "ebpfmap/blacklist-map";
  assert.match(await bench.do("map", "dump", map), /^KEY +VALUE$/m);
  await bench.do("map", "set", map, "198.51.100.0/24", "1");
  assert.match(await bench.do("map", "get", map, "198.51.100.0/24"), /^198\.51\.100\.0\/24 +1$/m);
  const dumped = JSON.parse(await bench.do("map", "dump", map, "-o", "json")) as { key: string; value: unknown }[];
  assert.ok(dumped.some(({ key }) => key === "198.51.100.0/24"));
  await bench.do("map", "delete", map, "198.51.100.0/24");
  const { exitCode, err } = await bench.run("map", "get", map, "198.51.100.0/24");
  assert.equal(exitCode, 1);
  assert.match(err, /^error: read map maps\/default\/blacklist-map: there is no such entry \(ENOENT\); /);
});

test("map dump prints counters of a filter field by field, and adds up what the CPUs counted", async () => {
  assert.equal(bench.ping("10.10.10.7"), 0);
  const hits = (await listMaps("--ours")).find(({ ours }) => ours?.endsWith("/hits"));
  assert.ok(hits);
  const entries = JSON.parse(await bench.do("map", "dump", String(hits.id), "-o", "json")) as {
    value: { packets: number; bytes: number };
  }[];
  assert.ok(entries.some(({ value }) => value.packets === 3 && value.bytes > 0));
  assert.match(await bench.do("map", "dump", String(hits.id), "--per-cpu"), /^KEY +CPU +PACKETS +BYTES$/m);
});

test("map set refuses maps that are sealed, and those of others without --force", async () => {
  const sealed = (await listMaps("--ours")).find(
    ({ use, ours }) => use.isFrozen && ours?.startsWith("filter/") === true,
  );
  assert.ok(sealed);
  const refused = await bench.run("map", "delete", String(sealed.id), "10.0.0.0/8");
  assert.equal(refused.exitCode, 1);
  assert.match(refused.err, /its contents are sealed; change the object|encode key/);
  const pin = "/sys/fs/bpf/foreign";
  bench.onNode(
    "bpftool",
    "map",
    "create",
    pin,
    "type",
    "hash",
    "key",
    "4",
    "value",
    "8",
    "entries",
    "8",
    "name",
    "foreign",
  );
  const foreign = (await listMaps()).find(({ name, ours }) => name === "foreign" && ours === undefined);
  assert.ok(foreign);
  const { err } = await bench.run("map", "set", String(foreign.id), "7", "9");
  assert.equal(
    err,
    `error: write map ${foreign.id}: it is not ours and is only read; --force writes it all the same\n`,
  );
  await bench.do("map", "set", String(foreign.id), "7", "18446744073709551615", "--force");
  assert.equal(await bench.do("map", "get", String(foreign.id), "7"), "KEY   VALUE\n7     18446744073709551615\n");
  assert.equal((await listMaps()).find(({ id }) => id === foreign.id)?.use.entries, 1);
});

test("map says what cannot be done with arrays, full maps and maps without entries to list", async () => {
  const make = (name: string, type: string, ...sizes: readonly string[]): string => {
    const pin = `/sys/fs/bpf/${name}`;
    bench.onNode("bpftool", "map", "create", pin, "type", type, ...sizes, "name", name);
    return pin;
  };
  const refused = async (...args: readonly string[]): Promise<string> => {
    const { exitCode, err } = await bench.run("map", ...args);
    assert.equal(exitCode, 1, args.join(" "));
    return err;
  };
  const sizes = ["key", "4", "value", "8", "entries"];
  const array = make("numbers", "array", ...sizes, "3");
  assert.equal(
    await refused("set", array, "3", "1", "--force"),
    `error: write map ${array}: there is no entry 3; the array has the entries 0 to 2\n`,
  );
  await bench.do("map", "set", array, "2", "1", "--force");
  assert.equal(
    await refused("delete", array, "2", "--force"),
    `error: write map ${array}: entries of arrays cannot be deleted; set it to 0 with \`ebpfctl map set\`\n`,
  );
  const full = make("one", "hash", ...sizes, "1");
  await bench.do("map", "set", full, "1", "1", "--force");
  assert.match(await refused("set", full, "2", "1", "--force"), /: it is full: it takes 1 entries \(E2BIG\); raise/);
  const ring = make("ring", "ringbuf", "key", "0", "value", "0", "entries", "4096");
  const queue = make("line", "queue", "key", "0", "value", "8", "entries", "4");
  for (const [pin, type] of [
    [ring, "ringbuf"],
    [queue, "queue"],
  ] as const) {
    const told = new RegExp(`: a ${type} cannot be read entry by entry; \`ebpfctl map show \\d+\` tells`);
    assert.match(await refused("dump", pin), told);
  }
});

test("map takes relative paths of pins", async () => {
  bench.onNode(
    "bpftool",
    "map",
    "create",
    "/sys/fs/bpf/near",
    ..."type hash key 4 value 8 entries 4 name near".split(" "),
  );
  const dumped = bench.onNode("env", `--chdir=/sys/fs/bpf`, ...ebpfctlDump("./near"));
  assert.equal(dumped, "[]\n");
  assert.equal(bench.onNode("env", "--chdir=/sys/fs", ...ebpfctlDump("bpf/near")), "[]\n");
});

function ebpfctlDump(map: string): readonly string[] {
  const command = join(import.meta.dirname, "../../../../bin/ebpfctl");
  return [`BPFLEET_SOCKET=${bench.env.BPFLEET_SOCKET}`, command, "map", "dump", map, "-o", "json"];
}

test("the status of an EBPFMap tells how much memory it takes", async () => {
  for (let tries = 0; tries < 100; tries++) {
    const { status } = JSON.parse(await bench.do("get", "ebpfmap/blacklist-map", "-o", "json")) as {
      status?: { memoryUsage?: number };
    };
    if ((status?.memoryUsage ?? 0) > 0) return;
    await sleep(100);
  }
  assert.fail("it does not tell");
});

test("map watch prints what changes", async () => {
  const watch = bench.spawn("map", "watch", "ebpfmap/blacklist-map", "--interval", "50ms", "--count", "2");
  while (!/^watching \d+ entries of map \d+ /m.test(watch.err)) await sleep(10);
  await bench.do("map", "set", "ebpfmap/blacklist-map", "198.51.100.7", "1");
  await watch.says(/ \+ 198\.51\.100\.7\/32: 1$/m);
  await bench.do("map", "delete", "ebpfmap/blacklist-map", "198.51.100.7");
  await watch.says(/ - 198\.51\.100\.7\/32: 1$/m);
});

test("prog list counts runs in a window, and says where programs run and what the window cost", async () => {
  const sampling = bench.run("prog", "list", "--ours", "--sample", "500ms");
  bench.ping("10.0.0.2");
  const { out, err } = await sampling;
  assert.match(out, /^ID +TYPE +NAME +OWNER +HOOK +RUNS +NS\/RUN +AGE$/m);
  assert.match(out, / xdp +\S+ +filter\/\S+ +xdp\/eth0 +/);
  assert.match(err, /^statistics were on for \d+ ms \(switching took [\d.]+ ms\): \d+ runs were timed/m);
});

test("show tells everything of one program, map and link; who holds a foreign one is named", async () => {
  const [program] = JSON.parse(await bench.do("prog", "list", "--ours", "-o", "json")) as {
    id: number;
    owner?: object;
  }[];
  assert.ok(program);
  const shown = await bench.do("prog", "show", String(program.id));
  assert.match(shown, /^Declared-by: +EBPFProgram default\/xdp-packet-filter$/m);
  assert.match(shown, /^Object: +sha256:[0-9a-f]{64}$/m);
  const [map] = await listMaps("--ours");
  assert.match(await bench.do("map", "show", String(map?.id)), /^Memory: +\S+$/m);
  const none = await bench.run("link", "show", "4000000000");
  assert.equal(none.err, "error: there is no link 4000000000; `ebpfctl link list` has them all\n");
});
