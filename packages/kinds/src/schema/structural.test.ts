import assert from "node:assert/strict";
import { test } from "node:test";
import Type from "typebox";
import { toStructural } from "./structural.ts";
import { intOrString } from "./fields.ts";

test("toStructural turns literals and unions of literals into an enum with a type", () => {
  assert.deepEqual(toStructural(Type.Literal("a")), { type: "string", enum: ["a"] });
  assert.deepEqual(toStructural(Type.Union([Type.Literal("a"), Type.Literal("b")])), {
    type: "string",
    enum: ["a", "b"],
  });
  assert.deepEqual(toStructural(Type.Enum([1, 2])), { type: "integer", enum: [1, 2] });
});

test("toStructural turns a union with null into nullable", () => {
  const schema = Type.Union([Type.String({ maxLength: 3 }), Type.Null()], { description: "Text.", default: null });
  assert.deepEqual(toStructural(schema), {
    type: "string",
    maxLength: 3,
    description: "Text.",
    default: null,
    nullable: true,
  });
});

test("toStructural turns a record into additionalProperties", () => {
  assert.deepEqual(toStructural(Type.Record(Type.String(), Type.String())), {
    type: "object",
    additionalProperties: { type: "string" },
  });
});

test("toStructural writes int-or-string in the one form that is allowed", () => {
  assert.deepEqual(toStructural(intOrString({ description: "A port." })), {
    anyOf: [{ type: "integer" }, { type: "string" }],
    description: "A port.",
    "x-kubernetes-int-or-string": true,
  });
});

test("toStructural takes fields with a default out of required and drops what no CRD has", () => {
  const schema = Type.Object(
    { a: Type.Integer({ default: 1, exclusiveMinimum: 0 }), b: Type.String() },
    { additionalProperties: false, $id: "x" },
  );
  assert.deepEqual(toStructural(schema), {
    type: "object",
    required: ["b"],
    properties: { a: { type: "integer", default: 1, minimum: 0, exclusiveMinimum: true }, b: { type: "string" } },
  });
});

test("toStructural keeps unknown fields where anything goes", () => {
  const keep = { "x-kubernetes-preserve-unknown-fields": true };
  assert.deepEqual(toStructural(Type.Unknown()), keep);
  assert.deepEqual(toStructural(Type.Array(Type.Any())), { type: "array", items: keep });
  assert.deepEqual(toStructural(Type.Record(Type.String(), Type.Unknown())), { type: "object", ...keep });
});

test("toStructural throws for what no structural schema can say", () => {
  assert.throws(
    () => toStructural(Type.Object({ a: Type.Union([Type.String(), Type.Object({})]) })),
    /\.a: a structural schema has no unions/,
  );
  assert.throws(() => toStructural(Type.Enum([1, "a"])), /one type/);
  assert.throws(
    () => toStructural(Type.Object({ a: Type.Array(Type.Null()) })),
    /\.a\[\]: a structural schema has no type null/,
  );
});
