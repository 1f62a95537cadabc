import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { matchesLabels, whyNoMatch } from "./label-selector.ts";

const labels = { app: "web", tier: "" };

test("whyNoMatch selects as Kubernetes does", () => {
  const one = (
    operator: "In" | "NotIn" | "Exists" | "DoesNotExist",
    key: string,
    ...values: readonly string[]
  ): boolean =>
    matchesLabels(
      { matchExpressions: [{ key, operator, ...(values.length > 0 ? { values: [...values] } : {}) }] },
      labels,
    );
  assert.ok(matchesLabels({}, {}));
  assert.ok(one("In", "app", "db", "web") && !one("In", "app", "db") && !one("In", "none", "x"));
  assert.ok(one("NotIn", "app", "db") && !one("NotIn", "app", "web") && one("NotIn", "none", "x"));
  assert.ok(
    one("Exists", "tier") && !one("Exists", "none") && one("DoesNotExist", "none") && !one("DoesNotExist", "tier"),
  );
  assert.ok(one("In", "tier", ""));
  assert.ok(!one("Exists", "toString"));
});

test("whyNoMatch says which requirement is not met", () => {
  assert.equal(whyNoMatch({ matchLabels: { app: "db" } }, labels), "it has app=web, not app=db");
  assert.equal(whyNoMatch({ matchLabels: { x: "y" } }, labels), "it has no label x, not x=y");
  assert.equal(
    whyNoMatch({ matchExpressions: [{ key: "app", operator: "NotIn", values: ["web"] }] }, labels),
    "it has app=web; asked for is app NotIn web",
  );
});

test("whyNoMatch asks for everything: a longer selector never selects more", () => {
  const key = fc.constantFrom("a", "b", "c");
  const value = fc.constantFrom("x", "y");
  const expression = fc.oneof(
    fc.record({
      key,
      operator: fc.constantFrom("In" as const, "NotIn" as const),
      values: fc.array(value, { minLength: 1 }),
    }),
    fc.record({ key, operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const) }),
  );
  const given = fc.dictionary(key, value);
  fc.assert(
    fc.property(given, given, fc.array(expression), expression, (have, matchLabels, matchExpressions, more) => {
      const longer = matchesLabels({ matchLabels, matchExpressions: [...matchExpressions, more] }, have);
      const parts =
        matchesLabels({ matchLabels, matchExpressions }, have) && matchesLabels({ matchExpressions: [more] }, have);
      assert.equal(longer, parts);
    }),
  );
});
