import assert from "node:assert/strict";
import { test } from "node:test";
import { Type as TypeBox } from "typebox";
import { Type } from "./type.ts";

/** Every builder, nested as schemas of kinds nest them. */
function build(builders: typeof Type): object {
  const {
    Any,
    Array,
    Boolean,
    Enum,
    Integer,
    Literal,
    Null,
    Number,
    Object,
    Optional,
    Record,
    String,
    Union,
    Unknown,
    Unsafe,
  } = builders;
  return Object(
    {
      name: String({ minLength: 1, maxLength: 5, pattern: "^a", format: "date-time", description: "d", rules: [] }),
      count: Optional(Integer({ minimum: 1, default: 3 })),
      share: Number(),
      on: Boolean({ default: false }),
      kind: Enum(["a", "b"], { description: "d" }),
      literal: Optional(Literal("x")),
      either: Union([Literal(1), Literal(2)], { default: 1 }),
      maybe: Union([String(), Null()]),
      list: Optional(Array(Object({ at: Integer() }), { maxItems: 3, "x-kubernetes-list-type": "set" })),
      map: Record(String(), String(), { description: "d" }),
      any: Any(),
      unknown: Optional(Unknown()),
      port: Unsafe<number | string>({
        anyOf: [{ type: "integer" }, { type: "string" }],
        "x-kubernetes-int-or-string": true,
      }),
      empty: Optional(Object({ only: Optional(String()) })),
      none: Object({}),
    },
    { description: "d", "x-kubernetes-preserve-unknown-fields": true },
  );
}

test("Type builds what TypeBox builds", () => {
  assert.equal(JSON.stringify(build(Type), null, 1), JSON.stringify(build(TypeBox as unknown as typeof Type), null, 1));
});
