import assert from "node:assert/strict";
import { test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { changedResults, compactNodeState, expandResult, Interning } from "./node-report.ts";

interface Told {
  readonly name?: string;
  readonly state?: string;
  readonly message?: string;
  readonly packets?: number;
  readonly gauge?: number;
}

function nodeState(node: string, told: readonly Told[], omittedResults = 0): AnyObject {
  const results = told.map(({ name = "o", state = "InForce", message = "m", packets = 1, gauge }) => ({
    group: "g",
    kind: "K",
    namespace: "n",
    name,
    uid: "u",
    observedGeneration: 1,
    state,
    conditions: [{ type: "Ready", status: "True", reason: "R", message }],
    numbers: { "/metrics/packets": packets, ...(gauge !== undefined && { "/metrics/gauges/open": gauge }) },
  }));
  const inventory = { programs: Array.from({ length: 500 }, (_, id) => ({ id })) };
  return {
    apiVersion: "bpfleet.io/v1alpha1",
    kind: "NodeState",
    metadata: { name: node, uid: "x", resourceVersion: "1" },
    status: { results, omittedResults, inventory },
  };
}

test("compactNodeState keeps once what nodes say alike, and nothing of the inventory", () => {
  const interning = new Interning();
  const [a, b] = [nodeState("a", [{}]), nodeState("b", [{ packets: 9 }])].map((state) =>
    compactNodeState(state, interning),
  );
  const [first, second] = [a, b].map((report) => report?.results.get("g/K/n/o"));
  assert.ok(first !== undefined && first.said === second?.said);
  assert.equal(interning.size, 1);
  assert.ok(!JSON.stringify(a).includes("programs"));
  assert.deepEqual(expandResult("b", second).numbers, { "/metrics/packets": 9 });
  assert.equal(expandResult("b", second).nodeName, "b");
});

test("compactNodeState takes whatever stands in a NodeState", () => {
  const interning = new Interning();
  for (const status of [
    undefined,
    {},
    { results: "x" },
    { results: [{ group: "g", kind: "K", namespace: "", name: "o", state: "InForce" }] },
  ]) {
    const state = { apiVersion: "v", kind: "NodeState", metadata: { name: "a" }, status } as AnyObject;
    assert.ok(compactNodeState(state, interning).results.size <= 1);
  }
  assert.equal(compactNodeState(nodeState("a", [], 3), interning).cut, "trouble");
});

test("compactNodeState knows whether all that is in trouble is listed", () => {
  const cutOf = (objects: object, omitted: number): string | undefined => {
    const { status, ...head } = nodeState("a", [{ name: "x", state: "Failed" }, {}], omitted) as AnyObject & {
      readonly status: object;
    };
    return compactNodeState({ ...head, status: { ...status, objects } }, new Interning()).cut;
  };
  assert.equal(cutOf({ total: 2, inForce: 1, notSelected: 0 }, 0), undefined);
  assert.equal(cutOf({ total: 9, inForce: 6, notSelected: 2 }, 7), "sound");
  assert.equal(cutOf({ total: 9, inForce: 5, notSelected: 2 }, 7), "trouble");
});

test("changedResults tells changes of numbers from changes of state, and what came and went", () => {
  const interning = new Interning();
  const read = (told: readonly Told[]): ReturnType<typeof compactNodeState> =>
    compactNodeState(nodeState("a", told), interning);
  const changes = (before: readonly Told[], after: readonly Told[]): unknown => [
    ...changedResults(read(before), read(after)),
  ];
  assert.deepEqual(changes([{}], [{}]), []);
  assert.deepEqual(changes([{}], [{ packets: 2 }]), [["g/K/n/o", "numbers"]]);
  assert.deepEqual(changes([{}], [{ gauge: 0 }]), [["g/K/n/o", "numbers"]], "one more number");
  assert.deepEqual(changes([{ gauge: 3 }], [{}]), [["g/K/n/o", "numbers"]], "one less");
  assert.deepEqual(changes([{}], [{ state: "Failed", packets: 2 }]), [["g/K/n/o", "state"]]);
  assert.deepEqual(changes([{}], [{ message: "other" }]), [["g/K/n/o", "state"]]);
  assert.deepEqual(changes([{}], [{}, { name: "p" }]), [["g/K/n/p", "state"]]);
  assert.deepEqual(changes([{}, { name: "p" }], [{}]), [["g/K/n/p", "state"]]);
  interning.dropIfLarger(0);
  assert.deepEqual([...changedResults(read([{}]), read([{}]))], []);
});
