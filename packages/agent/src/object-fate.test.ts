import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyPlan, notSelectedReason, type FeatureInstance, type ItemResult, type PlanProblem } from "@bpfleet/kernel";
import { Fates, messagesOf, refusedStatus, standingOf } from "./object-fate.ts";

const origin = { object: { group: "cilium.io", kind: "CiliumNetworkPolicy", namespace: "x", name: "p" }, path: "" };
const note: PlanProblem = { origin, reason: "Warning", message: "it matches nothing", severity: "note" };
const refused: PlanProblem = { origin, reason: "Invalid", message: "it has a mistake", severity: "refused" };
const fate = { problems: [note, refused], items: [], counters: [] };

test("refusedStatus names the mistake, and no warning that stands before it", () => {
  const clock = { now: () => 0, monotonicMs: () => 0 };
  assert.deepEqual(refusedStatus(fate, clock), {
    conditions: [
      {
        type: "Ready",
        status: "False",
        reason: "Invalid",
        message: "it has a mistake",
        lastTransitionTime: "1970-01-01T00:00:00Z",
      },
    ],
  });
});

test("messagesOf tells notes of what is in force alone", () => {
  assert.deepEqual(messagesOf(fate, "failed"), ["it has a mistake"]);
  assert.deepEqual(messagesOf({ ...fate, problems: [note] }, "pending"), []);
  assert.deepEqual(messagesOf({ ...fate, problems: [note] }, "in-force"), ["it matches nothing"]);
});

test("standingOf tells what means other nodes, unless the kernel has something of it", () => {
  const problems = [{ ...note, reason: notSelectedReason }];
  assert.equal(standingOf({ ...fate, problems }), "not-selected");
  const items = [{ item: "hook", key: "tc-ingress/eth0", state: "in-force" }] as const;
  assert.equal(standingOf({ ...fate, problems, items }), undefined);
});

test("Fates gives each policy the table, the programs and the hooks of the pods that it selects, in the order of the results", () => {
  const node = { ...origin.object, group: "", kind: "Node", name: "n" };
  const common = { feature: "policy", programs: ["policy/ingress"], maps: { table: "policy/table" }, rules: [] };
  const pod = (name: string) => ({ namespace: "x", pod: name, interface: name, ifindex: 1 });
  const of = (name: string, places: readonly (readonly number[])[]): FeatureInstance => ({
    ...common,
    owner: { ...origin.object, name },
    key: name,
    hooks: [],
    data: { about: "policy", endpoints: [], places },
  });
  const ofNode = {
    ...common,
    owner: node,
    key: "policy/node",
    data: { about: "node", endpoints: ["a", "b", "c"].map(pod) },
  };
  const plan = { ...emptyPlan, instances: [ofNode, of("all", [[0, 2]]), of("last", [[2, 2]])] };
  const hooks = ["c", "b", "a"].map((name): ItemResult => ({
    item: "hook",
    key: `tc-ingress/${name}`,
    state: "failed",
  }));
  const items: readonly ItemResult[] = [
    ...hooks,
    { item: "map", key: "policy/table", state: "in-force" },
    { item: "map", key: "policy/other", state: "in-force" },
    { item: "program", key: "policy/ingress", state: "in-force" },
  ];
  const fates = new Fates(plan, [], items, []);
  const saidOf = (name: string): readonly string[] =>
    fates.of({ ...origin.object, name }).items.map(({ item, key }) => `${item} ${key}`);
  const shared = ["map policy/table", "program policy/ingress"];
  assert.deepEqual(saidOf("all"), ["hook tc-ingress/c", "hook tc-ingress/b", "hook tc-ingress/a", ...shared]);
  assert.deepEqual(saidOf("last"), ["hook tc-ingress/c", ...shared]);
  assert.deepEqual(saidOf("none"), []);
});

test("Fates gives policies that select the same pods one list of results", () => {
  const common = { feature: "policy", programs: ["policy/ingress"], maps: {}, rules: [] };
  const owned = (name: string, data: unknown): FeatureInstance => ({
    ...common,
    owner: { ...origin.object, name },
    key: name,
    hooks: [],
    data,
  });
  const pods = ["a", "b"].map((name) => ({ namespace: "x", pod: name, interface: name, ifindex: 1 }));
  const selecting = (name: string, last: number) =>
    owned(name, { about: "policy", endpoints: [], places: [[0, last]] });
  const node = { ...owned("node", { about: "node", endpoints: pods }), hooks: undefined };
  const plan = { ...emptyPlan, instances: [node, selecting("p", 1), selecting("q", 1), selecting("r", 0)] };
  const items = ["a", "b"].map((name): ItemResult => ({ item: "hook", key: `tc-egress/${name}`, state: "in-force" }));
  const fates = new Fates(plan, [], items, []);
  const itemsOf = (name: string) => fates.of({ ...origin.object, name }).items;
  const [p, q, r] = [itemsOf("p"), itemsOf("q"), itemsOf("r")];
  assert.deepEqual([p === q, p.length, r.length], [true, 2, 1]);
});
