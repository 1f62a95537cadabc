import assert from "node:assert/strict";
import { test } from "node:test";
import { refKey } from "@bpfleet/base";
import {
  assemblePlan,
  diffPlan,
  emptyJournal,
  FakeKernel,
  FakeWorld,
  applyActions,
  observePlan,
  planGenerations,
  programContent,
  renderSource,
  type BytecodeFacts,
  type BytecodeGlobal,
  type BytecodeMap,
  type BytecodeProgram,
  type BytecodeReady,
  type NodeFacts,
  type NodePlan,
} from "@bpfleet/kernel";
import { facts as nodeFacts } from "../filter/testing/loaded-filter.ts";
import { encodeWish } from "./globals.ts";
import type { BytecodeIntent, BytecodePlace } from "./intent.ts";
import { describeMapChange } from "./map-change.ts";
import { matchSection } from "./match-section.ts";
import { planBytecode } from "./plan.ts";
import { uuidOf } from "./uuid.ts";

const pass: BytecodeProgram = { entry: "pass_all", section: "xdp/pass", type: undefined, instructions: 2 };
const stats: BytecodeMap = {
  name: "stats",
  definition: { type: "percpu_array", keySize: 4, valueSize: 16, maxEntries: 5, flags: 0 },
  layout: "a",
  keyType: "__u32",
  valueType: "struct rec { __u64 packets; __u64 bytes; }",
};

function ready(more: Partial<BytecodeReady> = {}): BytecodeReady {
  return {
    state: "ready",
    objectDigest: "ab".repeat(32),
    imageDigest: `sha256:${"cd".repeat(32)}`,
    signature: "unsigned",
    labels: {},
    programs: [pass],
    maps: [stats],
    globals: [],
    license: "GPL",
    ...more,
  };
}

function intent(name: string, more: Partial<BytecodeIntent> = {}): BytecodeIntent {
  const object = { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name };
  return {
    feature: "bytecode",
    origin: { object, path: "/spec" },
    source: { from: "file", path: `/objects/${name}.o` },
    section: "pass",
    at: { hook: "xdp", interfaces: { names: ["v0"] } },
    priority: 50,
    proceedOn: [2],
    globals: {},
    sharedMaps: {},
    ...more,
  };
}

function facts(known: Readonly<Record<string, BytecodeFacts>>, more: Partial<NodeFacts> = {}): NodeFacts {
  const bytecode = Object.fromEntries(
    Object.entries(known).map(([name, found]) => [renderSource({ from: "file", path: `/objects/${name}.o` }), found]),
  );
  return { ...nodeFacts, bytecode, pinRoot: "/run/bpfd/fs", ...more };
}

const plan = (intents: readonly BytecodeIntent[], known: NodeFacts): NodePlan =>
  assemblePlan([planBytecode(intents, known)]);
const reasons = ({ problems }: NodePlan) => problems.map(({ reason, severity }) => `${severity} ${reason}`);

test("planBytecode gives each interface a program with maps, pins and a stable UUID", () => {
  const planned = plan([intent("a")], facts({ a: ready() }));
  assert.deepEqual(planned.problems, []);
  const [map] = planned.maps;
  const uuid = /[0-9a-f-]{36}/.exec(map?.key ?? "")?.[0];
  assert.equal(map?.key, `bytecode/a/${uuid}/maps/stats`);
  assert.equal(map.pinPath, `/run/bpfd/fs/maps/${uuid}/stats`);
  const [hook] = planned.hooks;
  assert.deepEqual(hook?.members, [{ program: `bytecode/a/${uuid}/program`, priority: 50, proceedOn: [2] }]);
  assert.equal(planned.programs[0]?.object.name, `bytecode/${"ab".repeat(32)}`);
  const upgraded = plan([intent("a", { priority: 7 })], facts({ a: ready({ objectDigest: "ee".repeat(32) }) }));
  assert.equal(upgraded.maps[0]?.key, map.key);
  assert.deepEqual(
    [...planGenerations(upgraded).maps.values()],
    [...planGenerations(planned).maps.values()],
    "an upgrade with equal types keeps the map",
  );
  assert.notDeepEqual(planGenerations(upgraded).programs, planGenerations(planned).programs);
});

test("planBytecode orders by priority, then by name, beyond ten programs and with one section", () => {
  const names = Array.from({ length: 14 }, (_, at) => `p${String(at).padStart(2, "0")}`);
  const known = Object.fromEntries(names.map((name) => [name, ready()]));
  const intents = names.toReversed().map((name, at) => intent(name, { priority: at === 3 ? 1 : 50 }));
  const { hooks, problems } = plan(intents, facts(known));
  assert.deepEqual(problems, []);
  const order = hooks[0]?.members.map(({ program }) => program.split("/")[1]);
  assert.deepEqual(order, ["p10", ...names.filter((name) => name !== "p10")]);
});

test("planBytecode lets nothing that is wrong with one config keep another from running", () => {
  const broken = [
    intent("missing"),
    intent("section", { section: "nothing" }),
    intent("global", { globals: { nothing: { value: 1, origin: intent("global").origin } } }),
    intent("hook", { at: { hook: "tracepoint", name: "syscalls/sys_enter_openat" } }),
    intent("refused"),
  ];
  const planned = plan(
    [...broken, intent("good")],
    facts({
      section: ready(),
      global: ready(),
      hook: ready({ programs: [{ ...pass, type: "xdp" }] }),
      refused: { state: "failed", reason: "SignatureRefused", message: "nobody signed it" },
      good: ready(),
    }),
  );
  assert.deepEqual(reasons(planned), [
    "waiting Fetching",
    "refused SectionNotFound",
    "refused GlobalUnknown",
    "refused WrongProgramType",
    "waiting SignatureRefused",
  ]);
  assert.deepEqual(
    planned.hooks.flatMap(({ members }) => members.map(({ program }) => program.split("/")[1])),
    ["good"],
  );
});

test("planBytecode tells how far a fetch that takes long has come", () => {
  const slow = "still fetching quay.io/a:b after 15 s: 1 of 2 bytes";
  const { problems } = plan(
    [intent("a"), intent("b")],
    facts({ a: { state: "fetching", slow }, b: { state: "fetching" } }),
  );
  assert.deepEqual(
    problems.map(({ reason, message }) => [reason, message === slow]),
    [
      ["FetchingSlowly", true],
      ["Fetching", false],
    ],
  );
});

test("planBytecode goes on with what was ready before when an image cannot be had, and says so", () => {
  const planned = plan(
    [intent("a")],
    facts({ a: { state: "failed", reason: "RegistryUnreachable", message: "no route", earlier: ready() } }),
  );
  assert.equal(planned.hooks.length, 1);
  assert.deepEqual(reasons(planned), ["note RegistryUnreachable"]);
});

test("planBytecode goes on with the earlier program while a changed declaration is fetched or refused", () => {
  const before = plan([intent("a")], facts({ a: ready() }));
  const { maps, programs, instances, hooks } = before;
  const attachments = hooks.flatMap(({ point, members }) => members.map((member) => ({ point, member })));
  const earlierPlans = {
    [refKey(intent("a").origin.object)]: { maps, programs, attachments, instances, problems: [] },
  };
  for (const known of [{}, { a: ready({ programs: [] }) }]) {
    const after = plan([intent("a", { priority: 1 })], facts(known, { earlierPlans }));
    assert.deepEqual({ ...after, problems: [] }, { ...before, problems: [] });
    assert.equal(reasons(after).at(-1), "note EarlierInForce");
  }
  assert.deepEqual(plan([], facts({}, { earlierPlans })).programs, []);
});

test("planBytecode detaches what the image policy comes to refuse, unless it is to be kept; a refused upgrade changes nothing", () => {
  const before = plan([intent("a")], facts({ a: ready() }));
  const { maps, programs, instances, hooks } = before;
  const attachments = hooks.flatMap(({ point, members }) => members.map((member) => ({ point, member })));
  const earlierPlans = {
    [refKey(intent("a").origin.object)]: { maps, programs, attachments, instances, problems: [] },
  };
  const refused = { state: "failed", reason: "SignatureRefused", message: "nobody signed it" } as const;
  const known = facts({ a: refused, b: refused }, { earlierPlans });
  const revoked = plan([intent("a")], known);
  assert.deepEqual([revoked.maps, revoked.programs, revoked.hooks], [[], [], []]);
  assert.deepEqual(reasons(revoked), ["waiting SignatureRefused", "note Revoked"]);
  const { source } = intent("b");
  for (const goesOn of [intent("a", { keepsRevoked: true }), intent("a", { source })])
    assert.deepEqual({ ...plan([goesOn], known), problems: [] }, { ...before, problems: [] });
});

test("planBytecode keeps program and maps of an interface that is not there, and of the primary one finds the name", () => {
  const gone = plan([intent("a", { at: { hook: "xdp", interfaces: { names: ["eth9"] } } })], facts({ a: ready() }));
  assert.deepEqual([gone.programs.length, gone.maps.length, gone.hooks.length], [1, 1, 0]);
  assert.match(gone.problems[0]?.message ?? "", /^Invalid Interface/);
  const at = { hook: "tc", direction: "egress", interfaces: { primary: true, addresses: ["10.0.0.5"] } } as const;
  const [v0] = nodeFacts.interfaces;
  assert.ok(v0);
  const interfaces = [
    { ...v0, name: "first", hasDefaultRoute: true },
    { ...v0, name: "second", addresses: ["10.0.0.5/24"] },
  ];
  const known = facts({ a: ready({ programs: [{ ...pass, section: "tc/pass" }] }) }, { interfaces });
  assert.deepEqual(plan([intent("a", { at })], known).hooks[0]?.key, "tc-egress/second");
  const elsewhere = { ...at, interfaces: { ...at.interfaces, addresses: [] } };
  assert.deepEqual(plan([intent("a", { at: elsewhere })], known).hooks[0]?.key, "tc-egress/first");
});

test("planBytecode shares maps by the name of a config when they are equal", () => {
  const origin = intent("b").origin;
  const sharing = intent("b", { sharedMaps: { stats: { config: "a", origin } } });
  const planned = plan([intent("a"), sharing], facts({ a: ready(), b: ready() }));
  assert.deepEqual(planned.problems, []);
  assert.equal(planned.maps.length, 1);
  assert.ok(planned.programs.every(({ maps }) => maps["stats"] === planned.maps[0]?.key));
  const wider: BytecodeMap = {
    ...stats,
    definition: { ...stats.definition, valueSize: 24 },
    layout: "b",
    valueType: "struct rec { __u64 packets; __u64 bytes; __u64 errors; }",
  };
  const differing = plan([intent("a"), sharing], facts({ a: ready(), b: ready({ maps: [wider] }) }));
  assert.equal(differing.programs.length, 1);
  assert.equal(
    differing.problems[0]?.message,
    "share map stats of a: b and a declare it differently: value 16 → 24 bytes, field errors added",
  );
  assert.deepEqual(reasons(plan([sharing], facts({ b: ready() }))), ["waiting SharedMapWaiting"]);
  const back = intent("a", { sharedMaps: { stats: { config: "b", origin } } });
  assert.deepEqual(reasons(plan([back, sharing], facts({ a: ready(), b: ready() }))), [
    "refused SharedMapCircle",
    "refused SharedMapCircle",
  ]);
});

test("planBytecode says which map an upgrade could not keep, and how it changed", () => {
  const [map] = plan([intent("a")], facts({ a: ready() })).maps;
  assert.ok(map);
  const after: BytecodeMap = {
    ...stats,
    layout: "b",
    valueType: "struct rec { __u64 packets; __u32 bytes; __u32 mark; }",
  };
  const known = facts({ a: ready({ maps: [after] }) }, { seenMaps: { [map.key]: [stats] } });
  assert.deepEqual(
    plan([intent("a")], known).problems.map(({ message }) => message),
    [
      "map stats changed: field bytes __u64 → __u32, field mark added; it is made anew for this version of the program, without what it held",
    ],
  );
  assert.deepEqual(plan([intent("a")], facts({ a: ready() }, { seenMaps: { [map.key]: [stats] } })).problems, []);
});

test("planBytecode keeps a program at its old place until it is in force at the new one", () => {
  const at = (name: string) => intent("a", { at: { hook: "xdp", interfaces: { names: [name] } } });
  const found = { a: ready() };
  const hooks = (wish: BytecodeIntent, more: Partial<NodeFacts>): readonly string[] => {
    const { attachments } = planBytecode([wish], facts(found, { interfaces, areEarlierPlansProven: true, ...more }));
    return attachments.map(({ point }) => ("interface" in point ? point.interface : "")).toSorted();
  };
  const [known] = nodeFacts.interfaces;
  assert.ok(known);
  const interfaces = ["v0", "v1"].map((name) => ({ ...known, name }));
  const old = planBytecode([at("v0")], facts(found, { interfaces }));
  const owner = refKey(at("v0").origin.object);
  assert.deepEqual(hooks(at("v1"), { earlierPlans: { [owner]: old } }), ["v0", "v1"]);
  const both = planBytecode([at("v1")], facts(found, { interfaces, earlierPlans: { [owner]: old } }));
  assert.deepEqual(hooks(at("v1"), { earlierPlans: { [owner]: both } }), ["v1"]);
  assert.deepEqual(hooks(at("v0"), { earlierPlans: { [owner]: both } }), ["v0"]);
  const unproven = { earlierPlans: { [owner]: both }, areEarlierPlansProven: false };
  assert.deepEqual(hooks(at("v1"), unproven), ["v0", "v1"], "a start does not know yet what is in force");
  assert.deepEqual(hooks(at("gone"), { earlierPlans: { [owner]: old } }), ["v0"], "until there is such an interface");
});

test("planBytecode says which variables an upgrade begins anew, and nothing of those that are set before the load", () => {
  const variable = (name: string, section: string): BytecodeGlobal => ({
    name,
    section,
    sizeBytes: 4,
    type: "__u32",
    shape: { is: "int", sizeBytes: 4, isSigned: false },
  });
  const globals = [variable("limit", ".rodata"), variable("calls", ".bss"), variable("mode", ".data")];
  const found = { a: ready({ globals }) };
  const [spec] = plan([intent("a")], facts(found)).programs;
  assert.ok(spec);
  const problemsAfter = (seen: readonly string[], wish = intent("a")): readonly string[] =>
    plan([wish], facts(found, { seenPrograms: { [spec.key]: seen } })).problems.map(({ message }) => message);
  assert.deepEqual(problemsAfter([programContent(spec)]), []);
  const told = problemsAfter(["another", programContent(spec)]);
  assert.equal(told.length, 1);
  assert.match(told[0] ?? "", /^variables calls, mode began anew with this version of the program/);
});

test("planBytecode watches the function that the config names, whatever the section names", () => {
  const program = { entry: "watch", section: "fentry/do_exit", type: "tracing", instructions: 2 } as const;
  const found = { a: ready({ programs: [program], maps: [] }) };
  const planned = (hook: "fentry" | "fexit", name: string) =>
    plan([{ ...intent("a"), section: "watch", at: { hook, function: name } }], facts(found));
  assert.equal(planned("fentry", "do_exit").programs[0]?.attachTarget, undefined);
  assert.equal(planned("fentry", "do_unlinkat").programs[0]?.attachTarget, "do_unlinkat");
  assert.deepEqual(
    planned("fexit", "do_exit").problems.map(({ message }) => message),
    ["section fentry/do_exit holds watch, a program for fentry; this attach point takes fexit"],
  );
});

test("describeMapChange tells definitions apart", () => {
  const other = { ...stats, definition: { ...stats.definition, type: "array", maxEntries: 9 } as const };
  assert.equal(describeMapChange(stats, other), "type percpu_array → array, max_entries 5 → 9");
});

test("matchSection finds what bpfd found, names what is there, and refuses to guess", () => {
  const find = (name: string, programs: readonly BytecodeProgram[], labels = {}) => {
    const found = matchSection(ready({ programs, labels }), name, "xdp");
    return found.program === undefined ? found.message : found.program.entry;
  };
  const frags = { ...pass, entry: "frags", section: "xdp.frags/other", type: "xdp" } as const;
  const tc = { ...pass, entry: "classify", section: "classifier/pass", type: undefined } as const;
  for (const name of ["pass", "xdp/pass", "pass_all"]) assert.equal(find(name, [pass, frags, tc]), "pass_all", name);
  assert.equal(find("other", [pass, frags]), "frags");
  assert.match(find("pass", [pass, { ...pass, entry: "second" }]), /fits several programs: pass_all .*, second /);
  assert.match(find("pass", [tc]), /classify, a program of type sched_cls; this attach point takes xdp/);
  assert.match(
    find("x", [pass]),
    /^Unable to find a valid program with section name x; the object has xdp\/pass \(pass_all\)/,
  );
  assert.equal(find("pass", [pass], { "io.ebpf.section_name": "xdp/pass" }), "pass_all");
  assert.equal(
    find("pass", [pass], { "io.ebpf.section_name": "drop" }),
    "Bytecode image has section name: drop isn't equal to the provided section name pass",
  );
});

test("matchSection takes the program for the hook where one function is watched by several", () => {
  const watch = (section: string, type: "tracing" | "kprobe") => ({ entry: section, section, type, instructions: 2 });
  const programs = [
    ...["fentry.s/do_exit", "fexit/do_exit"].map((section) => watch(section, "tracing")),
    ...["kprobe/vfs_read", "kretprobe/vfs_read"].map((section) => watch(section, "kprobe")),
  ];
  const find = (name: string, type: "tracing" | "kprobe", hook: BytecodePlace["hook"]) => {
    const found = matchSection(ready({ programs }), name, type, hook);
    return found.program === undefined ? found.message : found.program.entry;
  };
  assert.equal(find("do_exit", "tracing", "fentry"), "fentry.s/do_exit");
  assert.equal(find("do_exit", "tracing", "fexit"), "fexit/do_exit");
  assert.equal(find("vfs_read", "kprobe", "kprobe"), "kprobe/vfs_read");
  assert.equal(find("vfs_read", "kprobe", "kretprobe"), "kretprobe/vfs_read");
  assert.match(
    find("vfs_read", "kprobe", "uprobe"),
    /fits several programs: kprobe\/vfs_read .*, kretprobe\/vfs_read /,
  );
});

test("encodeWish puts values by the types of the object, and says what does not fit", () => {
  const u8 = { is: "int", sizeBytes: 1, isSigned: false } as const;
  const of = (shape: BytecodeGlobal["shape"], sizeBytes: number, type: string): BytecodeGlobal => ({
    name: "limit",
    section: ".rodata",
    sizeBytes,
    type,
    shape,
  });
  const encode = (global: BytecodeGlobal, value: Parameters<typeof encodeWish>[1]) => {
    const { bytes, refusal } = encodeWish(global, value);
    return bytes ? [...bytes] : refusal;
  };
  const byte = of(u8, 1, "__u8");
  assert.deepEqual(encode(byte, 255), [255]);
  assert.equal(encode(byte, 256), "set global limit, __u8, to 256: it takes 0 to 255");
  assert.equal(encode(byte, 1.5), "set global limit, __u8, to 1.5: it takes a whole number");
  assert.equal(encode(byte, [1]), "set global limit, __u8, to [1]: it is one value, not a list");
  assert.deepEqual(
    encode(of({ is: "int", sizeBytes: 8, isSigned: false }, 8, "__u64"), "0xffffffffffffffff"),
    Array.from({ length: 8 }, () => 255),
  );
  assert.deepEqual(encode(of({ is: "int", sizeBytes: 2, isSigned: true }, 2, "short"), -2), [254, 255]);
  assert.deepEqual(encode(of({ is: "bool" }, 1, "bool"), true), [1]);
  assert.match(String(encode(of({ is: "bool" }, 1, "bool"), "yes")), /it takes true or false/);
  const text = of({ is: "array", count: 4, of: { is: "char" } }, 4, "char[4]");
  assert.deepEqual(encode(text, "abc"), [97, 98, 99, 0]);
  assert.equal(
    encode(text, "abcd"),
    'set global limit, char[4], to "abcd": it holds 3 bytes and a final 0; this text has 4',
  );
  const list = of({ is: "array", count: 2, of: u8 }, 2, "__u8[2]");
  assert.deepEqual(encode(list, [7]), [7, 0]);
  assert.match(String(encode(list, [1, 2, 3])), /it has 2 elements; 3 are given/);
  assert.match(String(encode(list, [1, 300])), /element 1: it takes 0 to 255/);
  const mode = of({ is: "enum", sizeBytes: 4, names: { OFF: "0", ON: "1" } }, 4, "enum mode");
  assert.deepEqual(encode(mode, "ON"), [1, 0, 0, 0]);
  assert.match(String(encode(mode, "MAYBE")), /it takes OFF, ON/);
  assert.match(String(encode(of({ is: "other", sizeBytes: 8 }, 8, "struct x"), 1)), /can be set/);
});

test("uuidOf is a UUID, the same for the same text and no other", () => {
  assert.match(uuidOf("a"), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(uuidOf("a"), uuidOf("a"));
  const many = new Set(Array.from({ length: 5000 }, (_, at) => uuidOf(`${at}`)));
  assert.equal(many.size, 5000);
});

test("planBytecode keeps the earlier program in force when the next one does not load", async () => {
  const world = new FakeWorld();
  world.addInterface("v0");
  const port = new FakeKernel(world);
  const make = async (planned: NodePlan) => {
    const observed = await observePlan(port, planned);
    return applyActions(diffPlan(planned, observed, emptyJournal), port, { plan: planned, observed });
  };
  const withoutPins = { pinRoot: undefined };
  await make(plan([intent("a")], facts({ a: ready() }, withoutPins)));
  const before = await port.observe();
  world.intercept = ({ method }) => (method === "loadProgram" ? new Error("the verifier says no") : undefined);
  const { results } = await make(
    plan([intent("a")], facts({ a: ready({ objectDigest: "00".repeat(32) }) }, withoutPins)),
  );
  assert.deepEqual(await port.observe(), before);
  assert.equal(results.find(({ item }) => item === "program")?.state, "failed");
  assert.match(results.find(({ item }) => item === "hook")?.error?.message ?? "", /the verifier says no/);
});

test("encodeWish takes a variable as it is in memory, of exactly its size", () => {
  const shape = { is: "other", sizeBytes: 4 } as const;
  const global: BytecodeGlobal = { name: "raw", section: ".rodata", sizeBytes: 4, type: "struct pair", shape };
  assert.deepEqual(encodeWish(global, "bytes:0a0B00ff").bytes, Uint8Array.of(10, 11, 0, 255));
  assert.equal(encodeWish(global, "bytes:0a0b").refusal, "set global raw, struct pair: it has 4 bytes; 2 are given");
  assert.match(encodeWish(global, "bytes:0a0").refusal ?? "", /only numbers/);
});
