import assert from "node:assert/strict";
import { test } from "node:test";
import { Value } from "typebox/value";
import { emptyPlan } from "@bpfleet/kernel";
import type { NodePlan } from "@bpfleet/kernel";
import type { Outcome, Parsed } from "../../kind.ts";
import { outcome } from "../../testing/outcomes.ts";
import { readAll } from "../../testing/read-all.ts";
import { mapKey } from "./map-key.ts";
import { statusSchema } from "./schema.ts";
import type { EBPFMap, EBPFMapStatus } from "./schema.ts";
import { mapStatus } from "./status.ts";

const [parsed] = readAll(
  "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFMap\nmetadata: {name: m}\nspec: {type: array, maxEntries: 1, valueSize: 4}\n",
).parsed as readonly Parsed<EBPFMap>[];

function status(fields: Partial<Outcome>): EBPFMapStatus {
  if (parsed === undefined) throw new Error("not parsed");
  const key = mapKey(parsed.ref);
  const plan: NodePlan = {
    ...emptyPlan,
    maps: [
      {
        key,
        name: "m",
        definition: { type: "array", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 },
        contents: { kind: "live" },
        owner: parsed.ref,
        pinPath: "/sys/fs/bpf/m",
      },
    ],
  };
  const result = mapStatus(parsed, outcome({ plan, ...fields }));
  assert.ok(Value.Check(statusSchema, result), JSON.stringify(result));
  return result;
}

function brief({ state, reason, conditions }: EBPFMapStatus): unknown[] {
  return [
    state,
    reason,
    ...(conditions ?? []).map((condition) => `${condition.type}=${condition.status} ${condition.reason}`),
  ];
}

test("mapStatus of a map that is there tells its pin, entries and memory", () => {
  const result = status({
    items: [{ item: "map", key: "maps/default/m", state: "in-force" }],
    entryCount: 3,
    memoryBytes: 4096,
  });
  assert.deepEqual(brief(result), [
    "Created",
    undefined,
    "Ready=True Ready",
    "Accepted=True Accepted",
    "Created=True Created",
  ]);
  assert.deepEqual(
    [result.pinPath, result.entryCount, result.memoryUsage, result.node],
    ["/sys/fs/bpf/m", 3, 4096, "node-1"],
  );
});

test("mapStatus gives the cause when the map is not there", () => {
  const result = status({
    items: [
      {
        item: "map",
        key: "maps/default/m",
        state: "failed",
        error: { code: "full", message: "fill m: no room (E2BIG)" },
      },
    ],
  });
  assert.deepEqual(brief(result), [
    "Failed",
    "fill m: no room (E2BIG)",
    "Ready=False MapFull",
    "Accepted=True Accepted",
    "Created=False MapFull",
  ]);
  assert.equal(result.pinPath, undefined);
});

test("mapStatus waits, and says for what", () => {
  assert.deepEqual(brief(status({})).slice(0, 2), ["Pending", "not tried yet"]);
  const object = parsed?.ref ?? { group: "", kind: "", namespace: "", name: "" };
  const refused = status({
    plan: emptyPlan,
    problems: [
      { origin: { object, path: "/spec/pinPath" }, severity: "refused", reason: "NotBpffs", message: "no bpffs there" },
    ],
  });
  assert.deepEqual(brief(refused), [
    "Failed",
    "no bpffs there",
    "Ready=False NotBpffs",
    "Accepted=False NotBpffs",
    "Created=False NotBpffs",
  ]);
});
