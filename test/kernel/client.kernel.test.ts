import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { BpfMap, possibleCpus } from "@bpfleet/native";
import { StandaloneNode } from "./standalone-node.ts";

const testdata = join(import.meta.dirname, "testdata");
const root = join(import.meta.dirname, "../..");
/** Of applications; nobody on this machine has them. */
const [appUser, appGroup] = [64_331, 64_332];

interface Seen {
  readonly via: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly types?: { readonly key: string; readonly value: string };
  readonly keys: readonly string[];
  readonly entries: readonly string[];
  readonly got: readonly string[];
  readonly absent: null;
  readonly found: readonly object[];
  readonly code?: string;
  readonly message?: string;
}

let closing: AsyncDisposableStack;
let node: StandaloneNode;
let folder: string;
let withoutBpf: string;
let pins: Readonly<Record<string, string>>;

const flow = { address: "10.0.0.9", port: 443 };
const flowKey = "0a00000901bb0000";

before(async () => {
  closing = new AsyncDisposableStack();
  const made = await StandaloneNode.make({ BPFLEET_NODE_NAME: "reader" });
  if (made === undefined) throw new Error("make a node: there is no cgroup v2");
  node = closing.use(made);
  folder = dirname(node.metrics);
  execFileSync("ip", ["-n", node.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
  compile();
  withoutBpf = join(folder, "without-bpf");
  execFileSync("cc", ["-O2", "-o", withoutBpf, join(testdata, "without-bpf.c")]);
  await node.up("", "--maps-group", String(appGroup));
  for (const each of [folder, dirname(node.bpffs)])
    if (each.startsWith(tmpdir()) && each !== tmpdir()) chmodSync(each, 0o711);
  await node.apply(config());
  pins = await loaded();
  {
    using flows = BpfMap.openPinned(pins["flows"] ?? "");
    flows.setRaw(Buffer.from(flowKey, "hex"), seen(7n, 700, 1));
    flows.setRaw(Buffer.from("0a00000a00350000", "hex"), seen(1n, 60, 0));
  }
  using totals = BpfMap.openPinned(pins["totals"] ?? "");
  const perCpu = Array.from({ length: possibleCpus() }, (_, cpu) => seen(BigInt(cpu) + 1n, 100, 0));
  totals.setRaw(Buffer.from([1, 0, 0, 0]), Buffer.concat(perCpu));
});
after(() => closing.disposeAsync());

function compile(...flags: readonly string[]): void {
  const includes = ["-I", join(root, "build/include"), `-I/usr/include/${multiarch()}`];
  const argv = ["-target", "bpf", "-O2", "-g", ...includes, ...flags, "-c", join(testdata, "readable.bpf.c")];
  execFileSync("clang", [...argv, "-o", join(folder, `readable${flags.length}.o`)]);
}

function multiarch(): string {
  return `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
}

function config(object = "readable0.o"): string {
  const spec = `{name: read, type: XDP, nodeselector: {}, attachpoint: {networkmultiattach: {interface: eth0, priority: 5}}, bytecode: "file://${folder}/${object}"}`;
  return `{apiVersion: bpfd.io/v1alpha1, kind: BpfProgramConfig, metadata: {name: reading}, spec: ${spec}}`;
}

async function loaded(holds: (maps: Readonly<Record<string, string>>) => boolean = () => true): Promise<typeof pins> {
  for (const end = performance.now() + 30_000; performance.now() < end;) {
    const { out } = await node.run(["get", "bpfprogram", "reading-reader", "-o", "json"]);
    if (out === "") continue;
    const object = JSON.parse(out) as {
      spec: { programs: Record<string, { maps: Record<string, string> }> };
      status?: { conditions?: readonly { type: string }[] };
    };
    const [program] = Object.values(object.spec.programs);
    if (object.status?.conditions?.at(-1)?.type === "Loaded" && program !== undefined && holds(program.maps))
      return program.maps;
  }
  assert.fail("it was not loaded");
}

function seen(packets: bigint, bytes: number, drops: number): Buffer {
  const value = Buffer.alloc(16);
  value.writeBigUInt64LE(packets);
  value.writeUInt32LE(bytes, 8);
  value.writeUInt32LE(drops, 12);
  return value;
}

/** As an application without rights sees it. */
function read(
  map: string,
  via: string,
  { key = "", json = "null", group = appGroup, prefix = [] as readonly string[], node = [] as readonly string[] } = {},
): Seen {
  const argv = [...prefix, process.execPath, ...node, join(testdata, "read-map.ts"), pins[map] ?? map, via, key, json];
  const env = {
    ...process.env,
    BPFLEET_MAPS_SOCKET: join(folder, "bpfleet-maps.sock"),
    BPFLEET_BTF: join(folder, "btf"),
  };
  const [command = "", ...args] = argv;
  const out = execFileSync(command, args, { env, uid: appUser, gid: group, encoding: "utf8" });
  return JSON.parse(out) as Seen;
}

const questions = {
  flows: { key: flowKey, json: JSON.stringify(flow) },
  totals: { key: "01000000", json: "1" },
} as const;
const answers = new Map<string, Seen>();

/** Each is asked once: every answer is a process. */
function answerOf(map: keyof typeof questions, via: "kernel" | "daemon"): Seen {
  const name = `${map} ${via}`;
  const answer = answers.get(name) ?? read(map, via, questions[map]);
  answers.set(name, answer);
  return answer;
}

for (const via of ["kernel", "daemon"] as const)
  describe(`openMap by the ${via}`, () => {
    test(`openMap by the ${via} reads a hash, in bytes and by its types`, () => {
      const answer = answerOf("flows", via);
      assert.equal(answer.via, via);
      assert.deepEqual([answer.keySize, answer.valueSize, answer.absent], [8, 16, null]);
      assert.match(answer.types?.value ?? "", /^struct seen \{ __u64 packets; __u32 bytes; __u32 drops; \}$/);
      assert.deepEqual(answer.got, [seen(7n, 700, 1).toString("hex")]);
      assert.deepEqual(answer.keys, [flowKey, "0a00000a00350000"]);
      assert.deepEqual(answer.found, [{ packets: "7n", bytes: 700, drops: 1 }]);
      assert.equal(answer.entries.length, 2);
    });

    test(`openMap by the ${via} gives the values of all CPUs`, () => {
      const answer = answerOf("totals", via);
      assert.equal(answer.got.length, possibleCpus());
      assert.equal(answer.entries.length, 3);
      assert.deepEqual(answer.found[0], { packets: "1n", bytes: 100, drops: 0 });
      assert.equal(answer.found.length, possibleCpus());
    });

    test(`openMap by the ${via} refuses who is not in the group, and maps that nobody pinned for him`, () => {
      assert.equal(read("flows", via, { group: appUser }).code, "no-permission");
      assert.match(read(join(node.bpffs, "maps/none/none"), via).code ?? "", /not-found|no-permission/);
    });
  });

test("openMap gives equal answers by the pin and by the daemon's socket", () => {
  for (const map of ["flows", "totals"] as const) {
    const [{ via: _k, ...byKernel }, { via: _d, ...byDaemon }] = [answerOf(map, "kernel"), answerOf(map, "daemon")];
    assert.equal(byKernel.code, undefined, byKernel.message);
    assert.deepEqual(byKernel, byDaemon);
  }
});

test("openMap asks the daemon where the kernel keeps bpf() from it, and only there", () => {
  assert.equal(read("totals", "either", { key: "01000000", json: "1" }).via, "kernel");
  const shut = read("totals", "either", { ...questions.totals, prefix: [withoutBpf] });
  assert.equal(shut.via, "daemon");
  const refused = read("totals", "kernel", { prefix: [withoutBpf] });
  assert.equal(refused.code, "no-permission");
  assert.match(refused.message ?? "", /EPERM/);
});

test("openMap asks the daemon where @bpfleet/native is not installed", () => {
  const withoutNative = `import { registerHooks } from "node:module";
registerHooks({ resolve(name, context, next) {
  if (name === "@bpfleet/native") throw Object.assign(new Error("not found"), { code: "ERR_MODULE_NOT_FOUND" });
  return next(name, context);
} });`;
  const node = ["--import", `data:text/javascript,${encodeURIComponent(withoutNative)}`];
  const answer = read("totals", "either", { key: "01000000", json: "1", node });
  assert.equal(answer.via, "daemon");
  assert.match(read("totals", "kernel", { node }).message ?? "", /@bpfleet\/native is not installed/);
});

test("ebpfctl up tells the types of every pinned map in a file that who may open the pin may read", async () => {
  const uuid =
    dirname(pins["flows"] ?? "")
      .split("/")
      .at(-1) ?? "";
  const file = join(folder, "btf", uuid, "flows.json");
  const pin = statSync(pins["flows"] ?? "");
  const told = statSync(file);
  assert.deepEqual([told.gid, told.mode & 0o777], [pin.gid, pin.mode & 0o777]);
  assert.equal(statSync(dirname(file)).mode & 0o777, 0o750);
  assert.deepEqual(readdirSync(dirname(file)).toSorted(), ["flows.json", "totals.json"]);
  const before = readFileSync(file, "utf8");
  rmSync(file);
  await until(() => existsSync(file));
  assert.equal(readFileSync(file, "utf8"), before);
  compile("-DLONGER");
  await node.apply(config("readable1.o"));
  await until(() => readFileSync(file, "utf8") !== before);
  const asked = { key: flowKey, json: JSON.stringify(flow) };
  await until(() => read("flows", "kernel", asked).types?.value.includes("last") === true);
  assert.deepEqual(read("flows", "daemon", asked).types, read("flows", "kernel", asked).types);
  await node.do("delete", "bpfprogramconfig", "reading");
  await until(() => !existsSync(dirname(file)));
});

async function until(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 30_000; !holds(); await new Promise((done) => setTimeout(done, 50)))
    assert.ok(performance.now() < end, "30 s are over");
}
