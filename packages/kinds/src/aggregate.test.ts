import assert from "node:assert/strict";
import { test } from "node:test";
import type { FleetOutcome, NodeResult } from "./aggregate.ts";
import type { Condition, KubeObject } from "./kind.ts";
import { findKind } from "./kinds.ts";

function clockAt(seconds: number): { now(): number; monotonicMs(): number } {
  return { now: () => seconds * 1000, monotonicMs: () => 0 };
}

function objectOf(apiVersion: string, kind: string, generation = 1, more: object = {}): KubeObject {
  return { apiVersion, kind, metadata: { name: "o", uid: "u", generation, ...more } };
}

function result(nodeName: string, fields: Partial<NodeResult> = {}): NodeResult {
  const isReady = fields.state === undefined || fields.state === "InForce";
  const ready = {
    type: "Ready",
    status: isReady ? "True" : "False",
    reason: isReady ? "Ready" : "X",
    message: isReady ? "in force" : "no",
  } as const;
  return { nodeName, state: "InForce", observedGeneration: 1, conditions: [ready], numbers: {}, ...fields };
}

interface Status {
  readonly state?: string;
  readonly attachedTo?: string;
  readonly mode?: string;
  readonly node?: string;
  readonly reason?: string;
  readonly nodes?: { readonly ready: number; readonly total: number };
  readonly metrics?: Readonly<Record<string, unknown>>;
  readonly conditions: readonly Condition[];
}

function programStatus(
  results: readonly NodeResult[],
  silentNodes: readonly string[] = [],
  previousStatus?: unknown,
  at = 0,
  generation = 1,
  lostNodes: readonly string[] = [],
): Status {
  const kind = findKind("networking.fos1.io/v1alpha1", "EBPFProgram");
  assert.ok(kind !== undefined);
  const object = objectOf("networking.fos1.io/v1alpha1", "EBPFProgram", generation);
  return kind.aggregate(object, { results, silentNodes, lostNodes, previousStatus, clock: clockAt(at) }) as Status;
}

test("aggregateStatus says the texts of the nodes, and which node it is where there is one", () => {
  const on = (place: string) => ({ texts: { "/attachedTo": place, "/mode": "driver", "/state": "Odd", "/no": "x" } });
  const one = programStatus([result("a", on("eth0"))]);
  assert.deepEqual([one.attachedTo, one.mode, one.node, one.state], ["eth0", "driver", "a", "Active"]);
  const places = ["eth1", "eth0", "eth2", "eth3", "eth1"];
  const many = programStatus(places.map((place, at) => result(`n${at}`, on(place))));
  assert.deepEqual([many.attachedTo, many.mode, many.node], ["eth0, eth1, eth2 and 1 more", "driver", undefined]);
  assert.ok(!("no" in many));
});

test("aggregateStatus is Ready when every node that is meant is, and adds numbers up", () => {
  const numbers = {
    "/metrics/packetsPassed": 3,
    "/metrics/packetsDropped": 4,
    "/metrics/nothing/here": 1,
    "/metrics/rules/0/packets": 1,
  };
  const status = programStatus([
    result("a", { numbers }),
    result("b", { numbers }),
    result("c", { state: "NotSelected" }),
  ]);
  const [ready] = status.conditions;
  assert.deepEqual([ready?.type, ready?.status, ready?.message], ["Ready", "True", "in force on 2 nodes"]);
  assert.deepEqual([status.state, status.reason, status.nodes], ["Active", undefined, { ready: 2, total: 2 }]);
  assert.deepEqual(status.metrics, {
    bytesDropped: 0,
    bytesPassed: 0,
    gauges: {},
    packetsDropped: 8,
    packetsPassed: 6,
    reasons: [],
    rules: [],
  });
});

test("aggregateStatus of an EBPFMap has the entries of the fullest node, and the memory of all", () => {
  const kind = findKind("networking.fos1.io/v1alpha1", "EBPFMap");
  assert.ok(kind !== undefined);
  const numbers = { "/entryCount": 3, "/memoryUsage": 4096 };
  const results = [result("a", { numbers }), result("b", { numbers: { ...numbers, "/entryCount": 4 } })];
  const object = objectOf("networking.fos1.io/v1alpha1", "EBPFMap");
  const status = kind.aggregate(object, { results, silentNodes: [], previousStatus: undefined, clock: clockAt(0) });
  const { state, entryCount, memoryUsage } = status as Record<string, unknown>;
  assert.deepEqual([state, entryCount, memoryUsage], ["Created", 4, 8192]);
});

test("aggregateStatus names what most nodes say, and at most three of them", () => {
  const bad = (name: string, message: string): NodeResult =>
    result(name, { state: "Failed", conditions: [{ type: "Ready", status: "False", reason: "Verifier", message }] });
  const status = programStatus([bad("n5", "y"), bad("n1", "x"), bad("n3", "x"), bad("n2", "x"), result("n4")]);
  assert.equal(status.conditions[0]?.message, "x (on 4 of 5 nodes: n1, n2, n3 and 1 more)");
  assert.deepEqual(
    [status.state, status.nodes, status.reason],
    ["Failed", { ready: 1, total: 5 }, status.conditions[0]?.message],
  );
});

test("aggregateStatus counts nodes that are silent or know an older generation as not yet", () => {
  const status = programStatus([result("a"), result("b", { observedGeneration: 2 })], ["c"], undefined, 0, 2);
  const [ready] = status.conditions;
  assert.deepEqual(
    [ready?.status, ready?.reason, ready?.message],
    ["False", "InProgress", "1 of 3 nodes; not yet: a, c"],
  );
  assert.equal(status.state, "Pending");
  assert.equal(programStatus([]).conditions[0]?.status, "Unknown");
});

const full = { nodeName: "full", isSound: true };

function notListedStatus(
  results: readonly NodeResult[],
  notListed: NonNullable<FleetOutcome["notListed"]>,
  previousStatus?: unknown,
): Status {
  const kind = findKind("networking.fos1.io/v1alpha1", "EBPFProgram");
  assert.ok(kind !== undefined);
  const object = objectOf("networking.fos1.io/v1alpha1", "EBPFProgram");
  return kind.aggregate(object, {
    results,
    silentNodes: [],
    notListed,
    previousStatus,
    clock: clockAt(0),
  }) as Status;
}

test("aggregateStatus says which nodes have more objects than they list, and keeps the state", () => {
  const active = { state: "Active" };
  const one = notListedStatus([], [full], active);
  const text = "full has more objects than its report lists; this one is not among those in trouble";
  const ready = one.conditions.find(({ type }) => type === "Ready");
  assert.deepEqual([ready?.status, ready?.reason, ready?.message], ["Unknown", "NotListed", text]);
  assert.deepEqual([one.state, one.nodes], ["Active", { ready: 0, total: 1 }]);
  assert.equal(notListedStatus([], [full], { state: "Failed" }).state, "Pending");
  const more = notListedStatus([result("a"), result("b")], [full, { nodeName: "g", isSound: false }], active);
  assert.equal(
    more.conditions[0]?.message,
    "2 of 4 nodes; full, g have more objects in trouble than their reports list",
  );
  assert.deepEqual([more.state, more.nodes], ["Active", { ready: 2, total: 4 }]);
  const failed = notListedStatus([result("a", { state: "Failed" })], [full], active);
  assert.deepEqual([failed.state, failed.conditions[0]?.status], ["Failed", "False"]);
});

test("aggregateConfig says no success where a node does not list the config", () => {
  const kind = findKind("bpfd.io/v1alpha1", "BpfProgramConfig");
  const object = objectOf("bpfd.io/v1alpha1", "BpfProgramConfig");
  const fleet = { silentNodes: [], previousStatus: undefined, clock: clockAt(0) };
  const status = kind?.aggregate(object, { ...fleet, results: [result("a")], notListed: [full] }) as Status;
  assert.deepEqual(
    status.conditions.map(({ type, reason }) => [type, reason]),
    [
      ["Note", "NotListed"],
      ["NotYetLoaded", "ProgramsNotYetLoaded"],
    ],
  );
});

function leavingStatus(
  [apiVersion, kind]: readonly [string, string],
  fleet: Partial<FleetOutcome>,
  finalizers: readonly string[] = ["example.com/keep"],
): readonly string[] {
  const object = objectOf(apiVersion, kind, 2, { deletionTimestamp: "2026-01-01T00:00:00Z", finalizers });
  const told = { results: [], silentNodes: [], previousStatus: undefined, clock: clockAt(0), ...fleet };
  const found = findKind(apiVersion, kind);
  assert.ok(found !== undefined);
  const { conditions } = found.aggregate(object, told) as Status;
  return conditions.map(({ type, status, reason, message }) => `${type} ${status} ${reason}: ${message}`);
}

test("aggregateStatus says of what is being deleted which nodes have it, then who holds it", () => {
  const program = ["networking.fos1.io/v1alpha1", "EBPFProgram"] as const;
  assert.deepEqual(leavingStatus(program, { results: [result("a"), result("b")], silentNodes: ["c"] }), [
    "Ready False Deleting: being deleted: still on a, b",
  ]);
  assert.deepEqual(leavingStatus(program, { silentNodes: ["a"], lostNodes: ["gone"] }), [
    "Ready False Deleting: being deleted: off all nodes; held by finalizer example.com/keep",
  ]);
  const unknown = { results: [result("lost")], lostNodes: ["lost"], notListed: [full] };
  assert.deepEqual(leavingStatus(program, unknown, ["a/b", "c/d"]), [
    "Ready False Deleting: being deleted: unknown whether still on full, lost; held by finalizers a/b, c/d",
  ]);
});

test("aggregateConfig says of what is being deleted no success, but who holds it", () => {
  const config = ["bpfd.io/v1alpha1", "BpfProgramConfig"] as const;
  const kind = findKind(...config);
  const object = objectOf(...config);
  const done = kind?.aggregate(object, {
    results: [result("a")],
    silentNodes: [],
    previousStatus: undefined,
    clock: clockAt(0),
  }) as Status;
  assert.equal(done.conditions.at(-1)?.type, "ReconcileSuccess");
  const waiting = done.conditions.map(({ type, status, reason, message }) => `${type} ${status} ${reason}: ${message}`);
  const said = (fleet: Partial<FleetOutcome>) => leavingStatus(config, { previousStatus: done, ...fleet });
  assert.deepEqual(said({ results: [result("a")] }), ["Note True Deleting: being deleted: still on a", waiting[0]]);
  assert.deepEqual(said({ remaining: [{ name: "o-a", cannotUnload: false }] }), [
    "Note True Deleting: being deleted: made of it and still there: o-a",
    waiting[0],
  ]);
  assert.deepEqual(said({ remaining: [{ name: "o-a", cannotUnload: false }], unattended: "no agent runs on a" }), [
    "Note True Deleting: being deleted: made of it and still there: o-a; no agent runs on a",
    waiting[0],
  ]);
  assert.deepEqual(said({ silentNodes: ["a"] }), [
    "Note True Deleting: being deleted: off all nodes; held by finalizer example.com/keep",
    waiting[0],
  ]);
});

test("aggregateStatus says of an undeployed fleet that nothing is in force, as far as that is known", () => {
  const said = (type: string): NodeResult["conditions"][number] => ({ type, status: "True", reason: "R", message: "" });
  const conditions = ["Ready", "Accepted", "Attached"].map(said);
  const before = programStatus([result("a", { conditions, numbers: { "/metrics/packetsPassed": 3 } })]);
  for (const [report, isClean, known, message] of [
    ["the one node is clean", true, "False", "not in force anywhere: bpfleet was undeployed, the one node is clean"],
    ["1 of 2 nodes are clean", false, "Unknown", "bpfleet was undeployed; 1 of 2 nodes are clean"],
  ] as const) {
    const kind = findKind("networking.fos1.io/v1alpha1", "EBPFProgram");
    assert.ok(kind !== undefined);
    const status = kind.aggregate(objectOf("networking.fos1.io/v1alpha1", "EBPFProgram"), {
      results: [],
      silentNodes: [],
      undeployed: { isClean, report },
      previousStatus: before,
      clock: clockAt(9),
    }) as Status;
    assert.deepEqual(
      status.conditions.map((each) => [each.type, each.status, each.reason, each.message]),
      [
        ["Ready", known, "Undeployed", message],
        ["Accepted", "Unknown", "Undeployed", message],
        ["Attached", known, "Undeployed", message],
      ],
    );
    assert.deepEqual([status.state, status.reason, status.nodes], ["Pending", message, { ready: 0, total: 0 }]);
    assert.deepEqual([status.metrics, status.node], [undefined, undefined]);
  }
});

test("aggregate of a config of bpfd whose fleet is undeployed does not say that its program is loaded", () => {
  const kind = findKind("bpfd.io/v1alpha1", "BpfProgramConfig");
  assert.ok(kind !== undefined);
  const object = objectOf("bpfd.io/v1alpha1", "BpfProgramConfig");
  const told = (fleet: Partial<Parameters<typeof kind.aggregate>[1]>, previousStatus?: unknown): readonly string[] => {
    const status = kind.aggregate(object, {
      results: [],
      silentNodes: [],
      previousStatus,
      clock: clockAt(1),
      ...fleet,
    });
    last = status;
    return (status as Status).conditions.map(({ type, reason }) => `${type} ${reason}`);
  };
  let last: unknown;
  assert.ok(told({ results: [result("a")] }).includes("ReconcileSuccess ReconcileSuccess"));
  const gone = ["Cause Undeployed", "NotYetLoaded ProgramsNotYetLoaded"];
  assert.deepEqual(told({ undeployed: { isClean: true, report: "the one node is clean" } }, last), gone);
  assert.equal(told({ results: [result("a")] }, last).at(-1), "ReconcileSuccess ReconcileSuccess");
});

test("aggregateStatus does not count what a lost node last said as so, and keeps what it had counted", () => {
  const numbers = { "/metrics/packetsDropped": 4 };
  const [a, b, c] = ["a", "b", "c"].map((name) => result(name, { numbers })) as [NodeResult, NodeResult, NodeResult];
  const one = programStatus([a, b, c], [], undefined, 0, 1, ["c"]);
  assert.deepEqual(
    one.conditions.map(({ status, reason, message }) => [status, reason, message]),
    [["Unknown", "NodesLost", "2 of 3 nodes; not heard from: c"]],
  );
  assert.deepEqual([one.state, one.nodes], ["Active", { ready: 2, total: 3 }]);
  assert.equal(one.metrics?.["packetsDropped"], 12);
  // Trouble elsewhere, and news that is on its way, go before it.
  const failed = programStatus([a, result("b", { state: "Failed" }), c], [], undefined, 0, 1, ["c"]);
  assert.deepEqual(
    [failed.state, failed.conditions[0]?.status, failed.nodes],
    ["Failed", "False", { ready: 1, total: 3 }],
  );
  const late = programStatus([a, c], ["b"], undefined, 0, 1, ["c"]);
  assert.equal(late.conditions[0]?.message, "1 of 3 nodes; not yet: b");
  // A failure that a lost node told of is no news of it either.
  const gone = programStatus([a, result("b", { state: "Failed" })], [], undefined, 0, 1, ["b"]);
  assert.deepEqual([gone.state, gone.conditions[0]?.status], ["Active", "Unknown"]);
  // One that never told of the object is waited for by nobody; one that does not mean it does not count.
  const never = programStatus([a], [], undefined, 0, 1, ["d"]);
  assert.equal(never.conditions[0]?.message, "1 of 2 nodes; not heard from: d");
  const other = programStatus([a, result("d", { state: "NotSelected" })], [], undefined, 0, 1, ["d"]);
  assert.deepEqual([other.conditions[0]?.status, other.nodes], ["True", { ready: 1, total: 1 }]);
  const all = programStatus([a], [], undefined, 0, 1, ["a"]);
  assert.deepEqual([all.state, all.conditions[0]?.status, all.nodes], ["Pending", "Unknown", { ready: 0, total: 1 }]);
});

test("aggregate of a BpfProgramConfig calls nothing done while a node is lost, and names it", () => {
  const kind = findKind("bpfd.io/v1alpha1", "BpfProgramConfig");
  const fleet = { results: [result("a"), result("b")], silentNodes: [], previousStatus: undefined, clock: clockAt(0) };
  const object = objectOf("bpfd.io/v1alpha1", "BpfProgramConfig");
  const lost = kind?.aggregate(object, { ...fleet, lostNodes: ["b"] });
  assert.deepEqual(conditionsOf(lost), ["Note: not heard from: b", waiting]);
  const done = kind?.aggregate(object, fleet);
  assert.equal(conditionsOf(done).length, 2);
  assert.deepEqual(conditionsOf(kind?.aggregate(object, { ...fleet, lostNodes: ["b"], previousStatus: done })), [
    "Note: not heard from: b",
    ...conditionsOf(done),
  ]);
});

test("aggregateStatus of an equal outcome is equal, and the time of a transition stays", () => {
  const first = programStatus([result("a")], [], undefined, 10);
  assert.deepEqual(programStatus([result("a")], [], first, 99), first);
  const later = programStatus([result("a", { state: "Failed" })], [], first, 99);
  assert.equal(later.conditions[0]?.lastTransitionTime, "1970-01-01T00:01:39Z");
});

function configStatus(
  results: readonly NodeResult[],
  silentNodes: readonly string[] = [],
  previousStatus?: unknown,
  deleting: object = {},
  remaining: readonly { name: string; cannotUnload: boolean }[] = [],
): readonly string[] {
  return conditionsOf(configStatusOf(results, silentNodes, previousStatus, deleting, remaining));
}

function configStatusOf(
  results: readonly NodeResult[],
  silentNodes: readonly string[],
  previousStatus: unknown,
  deleting: object = {},
  remaining: readonly { name: string; cannotUnload: boolean }[] = [],
): unknown {
  const kind = findKind("bpfd.io/v1alpha1", "BpfProgramConfig");
  assert.ok(kind !== undefined);
  const object = objectOf("bpfd.io/v1alpha1", "BpfProgramConfig", 1, deleting);
  return kind.aggregate(object, { results, silentNodes, remaining, previousStatus, clock: clockAt(0) });
}

function conditionsOf(status: unknown): readonly string[] {
  return (status as Status).conditions.map(({ type, message }) => `${type}: ${message}`);
}

const waiting = "NotYetLoaded: Waiting for BpfProgramConfig Object to be reconciled to all nodes";

test("aggregate of a BpfProgramConfig says what bpfd said, and keeps what it said before", () => {
  const begun = configStatusOf([], ["a", "b"], undefined);
  assert.deepEqual(conditionsOf(begun), [waiting]);
  assert.deepEqual(configStatus([result("a")], ["b"], begun), [waiting]);
  const done = "ReconcileSuccess: bpfProgramReconciliation Succeeded on all nodes";
  assert.deepEqual(configStatus([result("a"), result("b", { state: "NotSelected" })], [], begun), [waiting, done]);
});

test("aggregate of a BpfProgramConfig names the objects of nodes that failed, and their cause", () => {
  const cause = { type: "Cause", status: "True", reason: "InterfaceNotFound", message: "eth9 is not there" } as const;
  const results = [
    result("b", { state: "Waiting", conditions: [cause] }),
    result("a", { state: "Failed", conditions: [cause] }),
    result("c"),
  ];
  assert.deepEqual(configStatus(results), [
    "Cause: eth9 is not there (on 2 of 3 nodes: a, b)",
    waiting,
    "ReconcileError: bpfProgramReconciliation failed on the following bpfProgram Objects: [o-a, o-b]",
  ]);
});

test("aggregate of a BpfProgramConfig calls no failure what is being fetched", () => {
  const slow = { type: "Cause", status: "True", reason: "FetchingSlowly", message: "3 of 9 MB" } as const;
  const note = { type: "Note", status: "True", reason: "EarlierInForce", message: "goes on" } as const;
  assert.deepEqual(configStatus([result("a", { state: "Waiting", conditions: [note] }), result("b")]), [
    "Note: goes on (on 1 of 2 nodes: a)",
    waiting,
  ]);
  assert.deepEqual(configStatus([result("a", { state: "Waiting", conditions: [slow] })]), [
    "Cause: 3 of 9 MB",
    waiting,
  ]);
});

test("aggregate of a BpfProgramConfig that is being deleted names what cannot be unloaded", () => {
  const deleting = { deletionTimestamp: "2026-01-01T00:00:00Z" };
  const remaining = [
    { name: "o-a", cannotUnload: true },
    { name: "o-b", cannotUnload: false },
  ];
  assert.deepEqual(configStatus([result("a")], [], undefined, deleting, remaining), [
    waiting,
    "DeleteError: bpfProgramConfig Deletion failed on the following bpfProgram Objects: [o-a]",
  ]);
});
