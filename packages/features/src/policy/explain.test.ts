import assert from "node:assert/strict";
import { test } from "node:test";
import type { FeatureInstance, MapEntries } from "@bpfleet/kernel";
import { encodeExplained, explainedFlag, explainedSize, verdict } from "../generated/shared.ts";
import type { MapReadings, SeenPacket } from "../feature.ts";
import * as make from "../filter/testing/packets.ts";
import { policyReason } from "./generated/policy.ts";
import type { PolicyData } from "./instances.ts";
import { policy } from "./policy-feature.ts";
import { passReasons, reasonNames, reasonTexts } from "./reasons.ts";
import { nameEntries } from "./testing/learnt-names.ts";
import { faultTexts, passReasons as filterPassReasons, reasonNames as filterReasonNames } from "../filter/reasons.ts";

const object = { group: "networking.k8s.io", kind: "NetworkPolicy", namespace: "x", name: "p" };
const node = { group: "", kind: "Node", namespace: "", name: "n" };
const rules = [
  { index: 1, id: "5", text: "this node reaches its pods", origin: { object: node, path: "" } },
  { index: 2, id: "6", text: "allow ingress from pods app=b", origin: { object, path: "/spec/ingress/0" } },
];
const data: PolicyData = {
  about: "node",
  endpoints: [{ namespace: "x", pod: "a", interface: "v", ifindex: 4 }],
  tableLines: 9,
  addresses: 3,
};
const instance: FeatureInstance = {
  feature: "policy",
  owner: node,
  key: "policy/node",
  programs: [],
  maps: {},
  rules,
  data,
};
const ofObject: FeatureInstance = {
  ...instance,
  owner: object,
  rules: rules.slice(1),
  data: { about: "policy", endpoints: data.endpoints } satisfies PolicyData,
};

function explain(
  reason: keyof typeof policyReason,
  rule: number,
  isPass: boolean,
  readings: MapReadings = new Map(),
  seen?: SeenPacket,
  of: FeatureInstance = instance,
): string {
  const scratch = new Uint8Array(explainedSize);
  const address = Uint8Array.of(10, 0, 0, 2, ...Array.from({ length: 12 }, () => 0));
  encodeExplained(
    {
      verdict: isPass ? verdict.pass : verdict.drop,
      reason: policyReason[reason],
      rule,
      flags: explainedFlag.ipv4,
      address,
    },
    new DataView(scratch.buffer),
  );
  const { owner, text, peer } = policy.explanations?.explain(of, scratch, readings, seen) ?? assert.fail();
  assert.equal(peer, "10.0.0.2");
  return `${owner.name} ${text}`;
}

test("policy.explain names object, place and text of the rule that decided, and the reason where there is none", () => {
  assert.equal(
    explain("allowed", 2, true),
    "p passed (peer 10.0.0.2): NetworkPolicy x/p /spec/ingress/0: allow ingress from pods app=b",
  );
  assert.equal(explain("allowed", 1, true), "n passed (peer 10.0.0.2): Node n: this node reaches its pods");
  assert.equal(
    explain("default_deny", 0, false),
    "n dropped (peer 10.0.0.2): no rule allows it, and what no rule allows is denied",
  );
  assert.match(
    explain("revoked", 2, false),
    /^p dropped .*its flow was allowed once, and is no more; NetworkPolicy x\/p/,
  );
});

test("policy.explain names all pods that are said to be at one interface, and what isolates any of them", () => {
  const pod = (name: string, ...ingress: readonly number[]): PolicyData["endpoints"][number] => ({
    namespace: "x",
    pod: name,
    interface: "v",
    ifindex: 4,
    isolatedBy: { ingress, egress: [] },
  });
  const isolating = ["p", "q"].map((name) => ({ object: { ...object, name }, path: "/spec" }));
  const both = { ...data, endpoints: [pod("a", 0), pod("b", 0, 1)], isolating } satisfies PolicyData;
  const head = make.ethernet(
    make.ETH_IPV4,
    make.ipv4(make.tcp(), { protocol: 6, source: make.v4("10.0.0.2"), destination: make.v4("10.0.0.9") }),
  );
  const seen: SeenPacket = { ifindex: 4, head, layer: "ethernet", nowNs: 0n };
  assert.match(
    explain("default_deny", 0, false, new Map(), seen, { ...instance, data: both }),
    /: no rule allows it, and NetworkPolicy x\/p, NetworkPolicy x\/q let pod x\/a and pod x\/b receive only what a rule allows$/,
  );
});

test("policy.explain tells by which names the pod knows whom it sends to, and for how long", () => {
  const second = 1_000_000_000n;
  const address = "10.0.0.2";
  const taught = [
    { ifindex: 4, address, name: "a.test" },
    { ifindex: 4, address, name: "b.test" },
    { ifindex: 5, address, name: "c.test" },
  ];
  const { known, learnt } = nameEntries(taught, 30n * second);
  const entriesOf = (pairs: typeof known): MapEntries => ({
    count: pairs.length,
    keys: Buffer.concat(pairs.map(([key]) => key)),
    values: Buffer.concat(pairs.map(([, value]) => value)),
  });
  const readings = new Map([
    ["learnt", entriesOf(learnt)],
    ["known_names", entriesOf(known)],
  ]);
  const [own, peer] = [make.v4("10.0.0.9"), make.v4(address)];
  const seen = (source: Uint8Array, destination: Uint8Array, nowNs: bigint): SeenPacket => {
    const head = make.ethernet(make.ETH_IPV4, make.ipv4(make.tcp(), { protocol: 6, source, destination }));
    return { ifindex: 4, head, layer: "ethernet", nowNs };
  };
  assert.match(
    explain("allowed", 2, true, readings, seen(own, peer, 7n * second)),
    /\(peer 10\.0\.0\.2, learnt as a\.test, 23 s left; b\.test, 23 s left\): /,
  );
  assert.match(
    explain("default_deny", 0, false, readings, seen(own, peer, 40n * second)),
    /learnt as a\.test, ended 10 s ago; b\.test, ended 10 s ago\)/,
  );
  assert.doesNotMatch(explain("allowed", 2, true, readings, seen(peer, own, 7n * second)), /learnt/);
});

test("policy has words for every reason, and says of each whether it lets pass", () => {
  for (const name of reasonNames.values())
    assert.ok(name === "allowed" || (reasonTexts[name] ?? faultTexts[name]) !== undefined, name);
  assert.deepEqual(
    passReasons.filter((name) => !(name in policyReason)),
    [],
  );
});

function perCpu(values: Readonly<Record<number, readonly [packets: number, bytes: number]>>): MapEntries {
  const indexes = Object.keys(values).map(Number);
  const keys = Uint32Array.from(indexes);
  const counts = BigUint64Array.from(indexes.flatMap((index) => [...(values[index] ?? [0, 0]), 1, 10]).map(BigInt));
  return { count: indexes.length, keys: new Uint8Array(keys.buffer), values: new Uint8Array(counts.buffer) };
}

const empty: MapEntries = { count: 0, keys: new Uint8Array(0), values: new Uint8Array(0) };

test("policy gives no reason the name of one of the filter's with the other verdict", () => {
  const isPass = (name: string, names: readonly string[]): boolean => names.includes(name);
  const shared = [...reasonNames.values()].filter((name) => [...filterReasonNames.values()].includes(name));
  assert.deepEqual(
    shared.filter((name) => isPass(name, passReasons) !== isPass(name, filterPassReasons)),
    [],
  );
});

test("policy.counters tells reasons and sizes of the node once, and of each object its own rules", () => {
  const readings = new Map([
    ["reasons", perCpu({ [policyReason.denied]: [4, 40] })],
    ["hits", perCpu({ 1: [1, 10], 2: [6, 60] })],
    ["base", empty],
    ["flows4", { ...empty, count: 5 }],
    ["flows6", { ...empty, count: 2 }],
  ]);
  const ofNode = policy.counters(instance, readings);
  assert.deepEqual(ofNode.reasons["denied"], { packets: 5n, bytes: 50n });
  assert.deepEqual(ofNode.reasons["allowed"], { packets: 0n, bytes: 0n });
  assert.deepEqual(ofNode.gauges, {
    endpoints: 1,
    tracked_flows: 7,
    table_lines: 9,
    known_addresses: 3,
    rule_count: 2,
  });
  const own = policy.counters(ofObject, readings);
  assert.deepEqual(
    own.rules.map(({ rule, counter }) => [rule.index, counter.packets]),
    [[2, 7n]],
  );
  assert.deepEqual([own.reasons, own.gauges], [{}, { endpoints: 1 }]);
});
