import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assemblePlan, type FeatureInstance, type MapEntries, type NodeFacts } from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import type { FeaturePlan } from "../feature.ts";
import { encodeExplained, explainedFlag, explainedSize, verdict } from "../generated/shared.ts";
import { renderAddress } from "./address.ts";
import { filter } from "./filter.ts";
import { filterReason } from "./generated/filter.ts";
import type { FilterIntent, Prefix } from "./intent.ts";
import { faultTexts, passReasons, reasonNames } from "./reasons.ts";

const object = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "xdp-packet-filter" };
const origin = { object, path: "" };
const facts = nodeFacts({
  objects: { filter: { digest: "d" } },
  interfaces: [
    interfaceFacts("eth0", { hasDefaultRoute: true }),
    interfaceFacts("tun0", { ifindex: 3, linkKind: "tun", mac: "" }),
  ],
  hashSeed: 7,
  cgroups: { "/pods/a": "1", "/pods/b": "2" },
});

function prefix(text: string): Prefix {
  const [address = "", length] = text.split("/");
  const bytes = Uint8Array.from(address.split(".").map(Number));
  return { family: 4, bytes, length: Number(length ?? 32) };
}

const entry = (text: string): NonNullable<FilterIntent["blacklist"]>["entries"][number] => ({
  prefix: prefix(text),
  text,
  origin: { object, path: `/spec/${text}` },
});

/** As the document declares it. */
const declared: FilterIntent = {
  feature: "filter",
  origin,
  at: { hook: "xdp", interface: "eth0" },
  priority: 10,
  blacklist: { entries: [entry("192.168.1.100"), entry("10.10.10.0/24")], origin },
  rateLimit: { packetsPerSecond: 10_000, origin },
  isStateful: true,
  maps: [{ mapKey: "maps/default/blacklist-map", family: 4, origin }],
};

const plan = (change: Partial<FilterIntent> = {}, on: NodeFacts = facts): FeaturePlan =>
  filter.plan([{ ...declared, ...change }], on);
const points = ({ attachments }: FeaturePlan): string[] =>
  attachments.map(({ point, member }) => `${JSON.stringify(point)} ${member.proceedOn.join()}`);
const problems = (of: FeaturePlan): string[] => of.problems.map(({ severity, reason }) => `${severity} ${reason}`);
const digests = ({ maps }: FeaturePlan): Record<string, string> =>
  Object.fromEntries(
    maps.map(({ key, contents }) => [
      key.split("/").at(-1),
      contents.kind === "sealed" ? contents.digest : contents.kind,
    ]),
  );

test("filter.plan makes of the document's program one XDP program and its tracker at egress", () => {
  const planned = plan();
  assert.deepEqual(problems(planned), []);
  assert.deepEqual(points(planned), [
    '{"hook":"xdp","interface":"eth0"} 2',
    '{"hook":"tc","interface":"eth0","direction":"egress"} -1',
  ]);
  assert.deepEqual(
    planned.instances[0]?.rules.map(({ index, text }) => [index, text]),
    [
      [1, "192.168.1.100"],
      [2, "10.10.10.0/24"],
      [3, "map default/blacklist-map"],
      [4, "10000 packets per second"],
    ],
  );
  assert.equal(planned.programs[0]?.maps["live4_a"], "maps/default/blacklist-map");
});

test("filter.plan asks for nothing that the declaration does not use", () => {
  const planned = plan({ blacklist: undefined, rateLimit: undefined, isStateful: false, maps: [] });
  assert.deepEqual(Object.keys(digests(planned)), ["events", "trace", "lost-events", "reasons", "hits", "base"]);
  assert.deepEqual(
    planned.programs.map(({ entry, globals }) => [entry, Object.keys(globals)]),
    [["filter_xdp", ["instance_id", "starts_at_network"]]],
  );
});

test("filter.plan waits for a missing interface and has the program loaded meanwhile", () => {
  const placeOrigin = { object, path: "/spec/interface" };
  const planned = plan({ at: { hook: "xdp", interface: "eth9" }, placeOrigin });
  assert.deepEqual(problems(planned), ["waiting InterfaceNotFound"]);
  assert.deepEqual(planned.problems[0]?.origin, placeOrigin);
  assert.equal(planned.programs.length, 2);
  assert.deepEqual(planned.attachments, []);
});

test("filter.plan starts at the network header where a device has no other", () => {
  assert.equal(plan({ at: { hook: "tc-ingress", interface: "tun0" } }).programs[0]?.globals["starts_at_network"], true);
  assert.equal(plan().programs[0]?.globals["starts_at_network"], false);
});

test("filter.plan refuses marks where packets cannot carry them, and serves the rest", () => {
  const mark = { skb: { value: 1, mask: 0xffffffff }, dscp: 46, priorityFromDscp: true, origin };
  const atXdp = plan({ mark });
  assert.deepEqual(problems(atXdp), ["refused NotSupported"]);
  assert.equal(atXdp.programs[0]?.globals["mark_mask"], undefined);
  assert.equal(atXdp.programs.length, 2);
  const atTc = plan({ mark, at: { hook: "tc-ingress", interface: "eth0" } });
  assert.deepEqual(problems(atTc), []);
  const { mark_mask, mark_value, dscp, has_dscp, has_priority } = atTc.programs[0]!.globals;
  assert.deepEqual(
    { mark_mask, mark_value, dscp, has_dscp, has_priority },
    {
      mark_mask: 0xffffffff,
      mark_value: 1,
      dscp: 46,
      has_dscp: true,
      has_priority: true,
    },
  );
});

test("filter.plan refuses a third map of one address family and names it", () => {
  const maps = ["a", "b", "c"].map((name) => ({
    mapKey: `maps/default/${name}`,
    family: 4 as const,
    origin: { object, path: `/${name}` },
  }));
  const planned = plan({ maps });
  assert.deepEqual(
    planned.problems.map(({ severity, origin: { path } }) => [severity, path]),
    [["refused", "/c"]],
  );
  assert.match(planned.problems[0]!.message, /maps\/default\/c/);
  assert.deepEqual(
    Object.values(planned.programs[0]!.maps).filter((key) => key.startsWith("maps/")),
    ["maps/default/a", "maps/default/b"],
  );
});

test("filter.plan refuses a rate below one packet per second", () => {
  for (const packetsPerSecond of [0, -1, Number.NaN]) {
    const planned = plan({ rateLimit: { packetsPerSecond, origin }, isStateful: false });
    assert.deepEqual(problems(planned), ["refused NotSupported"]);
    assert.equal(planned.programs[0]?.globals["rate_rule"], undefined);
  }
});

test("filter.plan says what stateful means where replies do not arrive by the interface", () => {
  const atEgress = plan({ at: { hook: "tc-egress", interface: "eth0" } });
  assert.deepEqual(problems(atEgress), ["note Note"]);
  assert.deepEqual(
    atEgress.programs.map(({ entry }) => entry),
    ["filter_egress"],
  );
  assert.deepEqual(problems(plan({ rateLimit: undefined })), ["note Note"]);
});

test("filter.plan refuses to plan an object that the node does not have", () => {
  const planned = plan({}, { ...facts, objects: {} });
  assert.deepEqual(problems(planned), ["refused NotFound"]);
  assert.deepEqual(planned.programs, []);
});

test("filter.plan keeps buckets, flows and totals over an edit, and seals another list", () => {
  const before = digests(plan());
  const after = digests(
    plan({
      blacklist: { entries: [entry("10.10.10.0/24"), entry("10.0.0.1")], origin },
      rateLimit: { packetsPerSecond: 5, origin },
    }),
  );
  for (const name of ["buckets", "flows", "reasons"]) assert.equal(after[name], "live");
  for (const name of ["list4", "hits", "base"]) assert.notEqual(after[name], before[name], name);
  assert.equal(
    digests(plan({ rateLimit: { packetsPerSecond: 5, origin } }))["hits"],
    before["hits"],
    "the same rules count on",
  );
});

test("filter.plan gives a prefix the same rule id wherever it stands, and different ones different ids", () => {
  const idOf = (planned: FeaturePlan, text: string): string | undefined =>
    planned.instances[0]?.rules.find((rule) => rule.text === text)?.id;
  const other = plan({ blacklist: { entries: [entry("10.10.10.0/24"), entry("10.0.0.1")], origin } });
  assert.equal(idOf(other, "10.10.10.0/24"), idOf(plan(), "10.10.10.0/24"));
  const anyPrefix = fc
    .tuple(fc.constantFrom(4 as const, 6 as const), fc.nat(), fc.uint8Array({ minLength: 16, maxLength: 16 }))
    .map(([family, length, bytes]): Prefix => ({
      family,
      length: length % (family === 4 ? 33 : 129),
      bytes: bytes.subarray(0, family === 4 ? 4 : 16),
    }));
  fc.assert(
    fc.property(
      fc.uniqueArray(anyPrefix, { selector: ({ bytes, length }) => `${bytes.join()}/${length}`, maxLength: 50 }),
      (prefixes) => {
        const entries = prefixes.map((each) => ({ prefix: each, text: "x", origin }));
        const ids = plan({ blacklist: { entries, origin } }).instances[0]!.rules.map(({ id }) => id);
        assert.equal(new Set(ids).size, ids.length);
        assert.ok(ids.every((id) => BigInt(id) > 1n && BigInt(id) < 1n << 64n));
      },
    ),
  );
});

test("filter.plan of two objects on one interface is assembled without conflict", () => {
  const second = { ...declared, origin: { object: { ...object, name: "second" }, path: "" }, maps: [] };
  const map = {
    key: "maps/default/blacklist-map",
    name: "m",
    definition: { type: "lpm_trie", keySize: 8, valueSize: 4, maxEntries: 1, flags: 1 },
    contents: { kind: "live" },
  } as const;
  const assembled = assemblePlan([
    filter.plan([declared, second], facts),
    { maps: [map], programs: [], attachments: [], instances: [], problems: [] },
  ]);
  assert.deepEqual(assembled.problems, []);
  assert.deepEqual(
    assembled.hooks.map(({ key, members }) => [key, members.length]),
    [
      ["tc-egress/eth0", 2],
      ["xdp/eth0", 2],
    ],
  );
});

const scratchOf = (reason: number, rule: number, address: Uint8Array, isPass = false): Uint8Array => {
  const bytes = new Uint8Array(explainedSize);
  const padded = new Uint8Array(16);
  padded.set(address);
  const flags = address.length === 4 ? explainedFlag.ipv4 : address.length === 16 ? explainedFlag.ipv6 : 0;
  encodeExplained(
    { verdict: isPass ? verdict.pass : verdict.drop, reason, rule, flags, address: padded },
    new DataView(bytes.buffer),
  );
  return bytes;
};

const explain = (instance: FeatureInstance, scratch: Uint8Array): string =>
  filter.explanations!.explain(instance, scratch, new Map()).text;

test("filter.explain says who, what and by which rule", () => {
  const [instance] = plan().instances;
  const four = Uint8Array.of(10, 10, 10, 7);
  const texts = [
    scratchOf(filterReason.blacklist, 2, four),
    scratchOf(filterReason.blacklist, 1, Uint8Array.of(192, 168, 1, 100)),
    scratchOf(filterReason.blacklist_map, 3, four),
    scratchOf(filterReason.rate_limited, 4, Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)),
    scratchOf(filterReason.allowed, 0, four, true),
    scratchOf(filterReason.reply, 0, four, true),
    scratchOf(filterReason.not_ip, 0, new Uint8Array(0), true),
    scratchOf(filterReason.fault + 6, 0, new Uint8Array(0)),
  ].map((scratch) => explain(instance!, scratch));
  assert.deepEqual(texts, [
    "dropped: source 10.10.10.7 is in 10.10.10.0/24",
    "dropped: source 192.168.1.100 is on the list",
    "dropped: source 10.10.10.7 is blocked in map default/blacklist-map",
    "dropped: source 2001:db8::1 is over 10000 packets per second",
    "passed: source 10.10.10.7 is on no list and within 10000 packets per second",
    "passed: it answers a flow that left by eth0",
    "passed: it carries no IP",
    "dropped: its IPv4 header length is below 20 bytes or beyond the packet",
  ]);
  assert.throws(() => explain(instance!, new Uint8Array(8)), RangeError);
});

test("filter.explain speaks of the destination where packets leave", () => {
  const [instance] = plan({ at: { hook: "tc-egress", interface: "eth0" }, isStateful: false }).instances;
  const address = Uint8Array.of(10, 10, 10, 7);
  assert.equal(
    explain(instance!, scratchOf(filterReason.blacklist, 2, address)),
    "dropped: destination 10.10.10.7 is in 10.10.10.0/24",
  );
  assert.match(explain(instance!, scratchOf(filterReason.rate_limited, 4, address)), /source 10\.10\.10\.7 is over/);
});

test("every reason has a name, and every fault a sentence", () => {
  assert.equal(new Set(reasonNames.values()).size, reasonNames.size);
  for (const name of passReasons) assert.ok([...reasonNames.values()].includes(name), name);
  const faults = [...reasonNames].filter(([number]) => number > filterReason.fault).map(([, name]) => name);
  assert.deepEqual(faults.toSorted(), Object.keys(faultTexts).toSorted());
});

/** Two CPUs' counters per index. */
function perCpu(counters: Readonly<Record<number, readonly [number, number, number, number]>>): MapEntries {
  const rows = Object.entries(counters);
  return {
    count: rows.length,
    keys: new Uint8Array(Uint32Array.from(rows.map(([index]) => Number(index))).buffer),
    values: new Uint8Array(BigUint64Array.from(rows.flatMap(([, row]) => row.map(BigInt))).buffer),
  };
}

test("filter.counters adds up the CPUs, and what earlier lists counted", () => {
  const [instance] = plan().instances;
  const base: MapEntries = {
    count: 2,
    keys: new Uint8Array(Uint32Array.of(1, 2).buffer),
    values: new Uint8Array(BigUint64Array.from([5n, 0n, 0n, 6n, 100n, 6000n]).buffer),
  };
  const flowKeys = new Uint8Array(120);
  for (const [index, network] of [4, 6, 4].entries()) flowKeys[index * 40 + 37] = network;
  const counters = filter.counters(
    instance!,
    new Map([
      [
        "reasons",
        perCpu({ [filterReason.blacklist]: [2, 120, 3, 180], [filterReason.fault + 1]: [0, 0, 1, 5], 9: [0, 0, 0, 0] }),
      ],
      ["hits", perCpu({ 2: [2, 120, 3, 180], 4: [0, 0, 0, 0] })],
      ["base", base],
      ["flows", { count: 3, keys: flowKeys, values: new Uint8Array(24) }],
    ]),
  );
  assert.deepEqual(counters.reasons, {
    allowed: { packets: 0n, bytes: 0n },
    blacklist: { packets: 5n, bytes: 300n },
    blacklist_map: { packets: 0n, bytes: 0n },
    rate_limited: { packets: 0n, bytes: 0n },
    malformed_ethernet: { packets: 1n, bytes: 5n },
  });
  assert.deepEqual(
    counters.rules.map(({ rule, counter }) => [rule.text, counter.packets, counter.bytes]),
    [
      ["192.168.1.100", 0n, 0n],
      ["10.10.10.0/24", 105n, 6300n],
      ["map default/blacklist-map", 0n, 0n],
      ["10000 packets per second", 0n, 0n],
    ],
  );
  assert.equal(counters.gauges["blacklist_entries"], 2);
  assert.equal(counters.gauges["flow_count"], 3);
  assert.equal(counters.gauges["ipv6_flow_count"], 1);
});

test("renderAddress writes IPv6 as RFC 5952 does", () => {
  const bytes = (groups: readonly number[]): Uint8Array =>
    Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
  assert.equal(renderAddress(bytes([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1])), "2001:db8::1:0:0:1");
  assert.equal(renderAddress(bytes([0, 0, 0, 0, 0, 0, 0, 0])), "::");
  assert.equal(renderAddress(bytes([0x2001, 0xdb8, 0, 1, 1, 1, 1, 1])), "2001:db8:0:1:1:1:1:1");
  assert.equal(renderAddress(Uint8Array.of(192, 0, 2, 1)), "192.0.2.1");
});
