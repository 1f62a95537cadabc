import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import Type from "typebox";
import { Value } from "typebox/value";
import { admit, IssueList } from "./admit.ts";
import { int32, intOrString } from "./fields.ts";
import type { Rule } from "./json-schema.ts";

const below: Rule = {
  cel: "self.low <= self.high",
  holds: (self: { low: number; high: number }) => self.low <= self.high,
  reads: ["/low", "/high"],
  field: "/low",
  code: "invalid",
  message: "must not be above high",
};

const schema = Type.Object(
  {
    kind: Type.Enum(["alpha", "beta"]),
    low: int32({ description: "", minimum: 1, default: 1 }),
    high: int32({ description: "", default: 10 }),
    names: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 3 }), { maxItems: 3, "x-kubernetes-list-type": "set" }),
    ),
    inner: Type.Optional(
      Type.Object({
        enabled: Type.Boolean({ default: false }),
        note: Type.Union([Type.String(), Type.Null()], { default: null }),
      }),
    ),
    labels: Type.Optional(Type.Record(Type.String(), Type.String())),
    port: Type.Optional(intOrString({ description: "" })),
  },
  { rules: [below] },
);

function run(value: unknown): { admitted: unknown; messages: string[] } {
  const found = new IssueList(() => undefined);
  const admitted = admit(schema, value, "/spec", found);
  return { admitted, messages: found.issues.map(({ severity, code, message }) => `${severity} ${code} ${message}`) };
}

test("admit fills in defaults, in objects that are given only", () => {
  assert.deepEqual(run({ kind: "alpha" }), { admitted: { kind: "alpha", low: 1, high: 10 }, messages: [] });
  assert.deepEqual(run({ kind: "alpha", inner: {} }).admitted, {
    kind: "alpha",
    low: 1,
    high: 10,
    inner: { enabled: false, note: null },
  });
});

test("admit takes a field that is null for one that is not there, as the API server does", () => {
  assert.deepEqual(run({ kind: "alpha", low: null, inner: null }), {
    admitted: { kind: "alpha", low: 1, high: 10 },
    messages: [
      "warning empty spec.low: is null, which is as if it were left out",
      "warning empty spec.inner: is null, which is as if it were left out",
    ],
  });
  assert.deepEqual(run({ kind: null, inner: { note: null } }).messages, [
    "warning empty spec.kind: is null, which is as if it were left out",
    "error required spec.kind: is required: one of alpha, beta",
  ]);
});

test("admit leaves unknown fields out, warns, and guesses what was meant", () => {
  const { admitted, messages } = run({
    kind: "alpha",
    nmaes: ["x"],
    inner: { enabeld: true },
    labels: { anything: "x" },
    whatever: 1,
  });
  assert.deepEqual(admitted, {
    kind: "alpha",
    low: 1,
    high: 10,
    inner: { enabled: false, note: null },
    labels: { anything: "x" },
  });
  assert.deepEqual(messages, [
    "warning unknown-field spec.nmaes: unknown field, left out; did you mean names?",
    "warning unknown-field spec.inner.enabeld: unknown field, left out; did you mean enabled?",
    "warning unknown-field spec.whatever: unknown field, left out",
  ]);
});

test("admit tells everything that is wrong at once", () => {
  const value = {
    kind: "aplha",
    low: 0,
    high: "5",
    names: ["", "long!", 7, "a", "b"],
    inner: [],
    labels: { a: 1 },
    port: 1.5,
  };
  assert.deepEqual(run(value).messages, [
    'error enum spec.kind: must be one of alpha, beta, is "aplha"; did you mean alpha?',
    "error minimum spec.low: must be at least 1, is 0",
    'error type spec.high: must be a whole number, is "5"; leave the quotes off',
    "error max-items spec.names: must have at most 3 items, has 5",
    "error type spec.inner: must be a mapping of fields, is a list",
    "error type spec.labels.a: must be text, is 1; put it in quotes",
    "error type spec.port: must be a whole number or text, is 1.5",
  ]);
  assert.deepEqual(run({ names: ["", "long!", "a"], low: 2 ** 31 }).messages, [
    "error min-length spec.names[0]: must not be empty",
    "error max-length spec.names[1]: must have at most 3 characters, has 5",
    "error maximum spec.low: must be at most 2147483647, is 2147483648",
    "error required spec.kind: is required: one of alpha, beta",
  ]);
});

test("admit refuses what stands twice in a set", () => {
  assert.deepEqual(run({ kind: "alpha", names: ["a", "b", "a"] }).messages, [
    'error duplicate spec.names[2]: "a" is already at position 0; keep one',
  ]);
});

test("admit checks a rule when all that it reads is sound, whatever else is wrong", () => {
  assert.deepEqual(
    run({ kind: "x", low: 20 }).messages.filter((message) => message.includes("spec.low")),
    ["error invalid spec.low: must not be above high"],
  );
  assert.deepEqual(run({ kind: "alpha", low: 20, high: "x" }).messages.length, 1);
});

function copy(object: object, replacer?: (key: string, field: unknown) => unknown): object {
  return JSON.parse(JSON.stringify(object, replacer)) as object;
}

test("admit agrees with TypeBox on what is valid", () => {
  const plain = Type.Object({
    kind: Type.Enum(["alpha", "beta"]),
    count: Type.Integer({ minimum: 1, maximum: 5 }),
    names: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 3, pattern: "^[a-z]*$" }), { maxItems: 2 })),
    inner: Type.Optional(Type.Object({ on: Type.Boolean(), note: Type.Union([Type.String(), Type.Null()]) })),
    labels: Type.Optional(Type.Record(Type.String(), Type.Number())),
  });
  const leaf = fc.oneof(
    fc.constantFrom("alpha", "beta", "", "abc", "abcd", "A"),
    fc.integer({ min: -1, max: 6 }),
    fc.boolean(),
    fc.constant(null),
    fc.double(),
  );
  const inner = fc.oneof(leaf, fc.record({ on: leaf, note: leaf }, { requiredKeys: [], noNullPrototype: true }));
  const some = fc.oneof(
    leaf,
    fc.array(leaf, { maxLength: 3 }),
    inner,
    fc.dictionary(fc.constantFrom("a", "b"), leaf, { noNullPrototype: true }),
  );
  const value = fc.record(
    { kind: leaf, count: leaf, names: some, inner: some, labels: some },
    { requiredKeys: ["kind"], noNullPrototype: true },
  );
  fc.assert(
    fc.property(value, (object) => {
      const found = new IssueList(() => undefined);
      const admitted = admit(plain, object, "", found);
      // A null is as if its field were left out; an item and what stands under a label are no fields.
      const { labels, ...fields } = object;
      const withoutNulls = {
        ...copy(fields, (key, field) => (field === null && key !== "note" && !/^\d+$/.test(key) ? undefined : field)),
        ...(labels === undefined || labels === null ? {} : copy({ labels })),
      };
      assert.equal(!found.hasErrors, Value.Check(plain, withoutNulls), JSON.stringify([object, found.issues]));
      if (!found.hasErrors && found.issues.length === 0) assert.deepEqual(admitted, object);
    }),
    { numRuns: 3000 },
  );
});

test("admit stays quick when everything is wrong", () => {
  const many = Type.Array(Type.String({ rules: [{ ...below, holds: () => true, reads: [""], field: "" }] }));
  const found = new IssueList(() => undefined);
  const begin = process.cpuUsage();
  admit(many, Array(100_000).fill(1), "/spec/ips", found);
  assert.equal(found.issues.length, 100_000);
  assert.ok(process.cpuUsage(begin).user < 5_000_000);
});
