import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { encodeUtf8 } from "@bpfleet/base";
import { Value } from "typebox/value";
import { findKind } from "../../kinds.ts";
import { readAll } from "../../testing/read-all.ts";
import { boundNodeState } from "./bound-node-state.ts";
import type { NodeFindings } from "./bound-node-state.ts";
import { nodeStateLimits, resultStates, statusSchema } from "./schema.ts";
import type { NodeStateProgram, NodeStateResult, NodeStateStatus } from "./schema.ts";

const nothing: NodeFindings = { results: [], programs: [], maps: [], links: [] };

function result(at: number, fields: Partial<NodeStateResult> = {}): NodeStateResult {
  const condition = { type: "Ready", status: "True", reason: "Ready", message: "in force" } as const;
  return {
    group: "networking.fos1.io",
    kind: "EBPFProgram",
    namespace: "default",
    name: `p-${String(at).padStart(6, "0")}`,
    state: "InForce",
    conditions: [condition],
    numbers: {},
    ...fields,
  };
}

function program(id: number, fields: Partial<NodeStateProgram> = {}): NodeStateProgram {
  return { id, type: "xdp", name: `p${id}`, isOurs: false, ...fields };
}

/** Checked against the schema and the size that is promised. */
function bound(findings: Partial<NodeFindings>): NodeStateStatus {
  const status = boundNodeState({ ...nothing, ...findings });
  const [first] = Value.Errors(statusSchema, status);
  assert.equal(first, undefined);
  assert.ok(encodeUtf8(JSON.stringify(status)).length <= nodeStateLimits.bytes);
  return status;
}

test("boundNodeState keeps what fits, in the order of names and ids, and counts it", () => {
  const status = bound({
    results: [result(2), result(1, { state: "Failed" })],
    programs: [program(9), program(3, { isOurs: true })],
    maps: [{ id: 1, type: "hash", name: "m", isOurs: true }],
    links: [{ id: 5, type: "xdp", programId: 9, target: "eth0", isOurs: false }],
  });
  assert.deepEqual(
    status.results?.map(({ name }) => name),
    ["p-000001", "p-000002"],
  );
  assert.deepEqual(
    status.inventory?.programs.map(({ id }) => id),
    [3, 9],
  );
  assert.deepEqual(status.inventory?.total, { programs: 2, maps: 1, links: 1 });
  assert.deepEqual(status.inventory?.omitted, { programs: 0, maps: 0, links: 0 });
  assert.deepEqual(status.objects, {
    total: 2,
    inForce: 1,
    waiting: 0,
    failed: 1,
    pending: 0,
    notSelected: 0,
    notServed: 0,
  });
  assert.equal(status.omittedResults, 0);
});

test("boundNodeState lets go of what is fine before what is not, and counts all of it", () => {
  const results = Array.from({ length: 1500 }, (_, at) =>
    result(at, { state: resultStates[at % resultStates.length] ?? "Failed" }),
  );
  const status = bound({ results });
  assert.equal(status.results?.length, nodeStateLimits.results);
  assert.equal(status.omittedResults, 500);
  assert.equal(status.objects?.total, 1500);
  const kept = Map.groupBy(status.results, ({ state }) => state);
  for (const state of ["Failed", "Waiting", "Pending", "NotServed"] as const)
    assert.equal(kept.get(state)?.length, 250, state);
  assert.equal(kept.get("InForce"), undefined);
  assert.equal(kept.get("NotSelected")?.length ?? 0, 0);
});

test("boundNodeState lets go of foreign programs first", () => {
  const programs = Array.from({ length: 800 }, (_, at) => program(at, { isOurs: at >= 500 }));
  const { inventory } = bound({ programs });
  assert.equal(inventory?.programs.length, nodeStateLimits.programs);
  assert.equal(inventory.programs.filter(({ isOurs }) => isOurs).length, 300);
  assert.deepEqual([inventory.total.programs, inventory.omitted.programs], [800, 300]);
});

test("boundNodeState stays below the size of an object when everything is as large as it may be", () => {
  const condition = { type: "Ready", status: "False", reason: "X", message: "é".repeat(2000) } as const;
  const numbers = Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`/metrics/${at}`, 2 ** 53 - 1]));
  const owner = { group: "g".repeat(253), kind: "k".repeat(63), namespace: "n".repeat(63), name: "x".repeat(253) };
  const status = bound({
    results: Array.from({ length: 3000 }, (_, at) =>
      result(at, { conditions: Array.from({ length: 20 }, () => condition), numbers }),
    ),
    programs: Array.from({ length: 3000 }, (_, id) => program(id, { isOurs: true, owner, hook: "h".repeat(500) })),
    maps: Array.from({ length: 3000 }, (_, id) => ({ id, type: "hash", name: "m", isOurs: true, owner })),
    links: Array.from({ length: 3000 }, (_, id) => ({
      id,
      type: "tc",
      programId: 1,
      target: "t",
      isOurs: true,
      owner,
    })),
  });
  const [first] = status.results ?? [];
  assert.equal(first?.conditions.length, nodeStateLimits.conditions);
  assert.equal([...(first.conditions[0]?.message ?? "")].length, nodeStateLimits.messageLength);
  assert.equal(Object.keys(first.numbers).length, nodeStateLimits.numbers);
  assert.ok((status.inventory?.programs.length ?? 0) > 100);
  assert.equal((status.omittedResults ?? 0) + (status.results?.length ?? 0), 3000);
});

test("boundNodeState says the same when told the same in another order", () => {
  const results = Array.from({ length: 40 }, (_, at) => result(at));
  const programs = Array.from({ length: 40 }, (_, at) => program(at));
  const findings = { ...nothing, results, programs };
  const turned = { ...nothing, results: results.toReversed(), programs: programs.toReversed() };
  assert.deepEqual(boundNodeState(turned), boundNodeState(findings));
});

test("NodeState of a node of ordinary size takes some 30 KB", () => {
  const owner = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "xdp-packet-filter" };
  const status = bound({
    results: Array.from({ length: 50 }, (_, at) => result(at, { numbers: { "/metrics/packetsPassed": 90210 } })),
    programs: Array.from({ length: 40 }, (_, id) =>
      program(id, { isOurs: true, owner, hook: "xdp/eth0", position: 0, runCount: 1, runTimeNs: 1 }),
    ),
    maps: Array.from({ length: 60 }, (_, id) => ({ id, type: "hash", name: "buckets", isOurs: true, owner })),
    links: Array.from({ length: 40 }, (_, id) => ({
      id,
      type: "xdp",
      programId: 1,
      target: "eth0",
      isOurs: true,
      owner,
    })),
  });
  const { length } = JSON.stringify(status);
  assert.ok(length > 20_000 && length < 45_000, `${length}`);
});

test("NodeState has no spec: one that is written is left out with a warning", () => {
  const kind = findKind("bpfleet.io/v1alpha1", "NodeState");
  const object = { apiVersion: "bpfleet.io/v1alpha1", kind: "NodeState", metadata: { name: "n" } };
  assert.deepEqual(kind?.parse(object).issues, []);
  const parsed = kind?.parse({ ...object, spec: { a: 1 } });
  assert.deepEqual(
    parsed?.issues.map(({ severity, message }) => [severity, message]),
    [["warning", "spec: unknown field, left out"]],
  );
  assert.ok(parsed.ok && !("spec" in parsed.value.object));
});

test("boundNodeState gives the sample from its parts", () => {
  const [sample] = readAll(readFileSync(`${import.meta.dirname}/samples/worker-1.yaml`, "utf8")).parsed;
  const status = sample?.object.status as NodeStateStatus;
  const { objects: _, omittedResults: __, inventory, results = [], ...head } = status;
  const { programs = [], maps = [], links = [] } = inventory ?? {};
  assert.deepEqual(bound({ ...head, results, programs, maps, links }), status);
});
