import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  matchesRequirements,
  matchesSelector,
  parseSelector,
  renderFieldSelector,
  renderRequirements,
  renderSelector,
  requirementsOf,
} from "./selector.ts";
import type { LabelSelector } from "./selector.ts";

test("matchesSelector holds for everything when it is empty, and wants all of it else", () => {
  assert.ok(matchesSelector({}, { a: "b" }));
  assert.ok(matchesSelector({}));
  const selector: LabelSelector = {
    matchLabels: { app: "web" },
    matchExpressions: [
      { key: "tier", operator: "In", values: ["a", "b"] },
      { key: "old", operator: "DoesNotExist" },
      { key: "zone", operator: "NotIn", values: ["x"] },
      { key: "name", operator: "Exists" },
    ],
  };
  const labels = { app: "web", tier: "b", name: "" };
  assert.ok(matchesSelector(selector, labels));
  for (const wrong of [{ app: "db" }, { tier: "c" }, { old: "" }, { zone: "x" }])
    assert.ok(!matchesSelector(selector, { ...labels, ...wrong }), JSON.stringify(wrong));
  assert.ok(!matchesSelector({ matchLabels: { toString: "x" } }, {}));
});

test("parseSelector reads what people give to -l", () => {
  const read = (text: string): unknown => {
    const parsed = parseSelector(text);
    return parsed.ok ? parsed.value.map(({ key, operator, values }) => [key, operator, ...values]) : "refused";
  };
  assert.deepEqual(read("a=b, c==d ,e!=f"), [
    ["a", "in", "b"],
    ["c", "in", "d"],
    ["e", "notin", "f"],
  ]);
  assert.deepEqual(read("k8s.io/x in (a, b),y notin (c),z,!w,n>3,m<-4,v="), [
    ["k8s.io/x", "in", "a", "b"],
    ["y", "notin", "c"],
    ["z", "exists"],
    ["w", "!"],
    ["n", "gt", "3"],
    ["m", "lt", "-4"],
    ["v", "in", ""],
  ]);
  assert.deepEqual(read(""), []);
  for (const text of ["=", "a=b,", "a in b", "a in (b", "a>x", "a b", "a=!", "!a=b", ",a"])
    assert.equal(read(text), "refused", text);
});

test("parseSelector reads back what renderSelector wrote, with the same meaning", () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9]{0,4}$/);
  const expression = fc.oneof(
    fc.record({
      key: word,
      operator: fc.constantFrom("In" as const, "NotIn" as const),
      values: fc.array(word, { minLength: 1 }),
    }),
    fc.record({ key: word, operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const) }),
  );
  const selectors = fc.record({ matchLabels: fc.dictionary(word, word), matchExpressions: fc.array(expression) });
  fc.assert(
    fc.property(selectors, fc.dictionary(word, word), (selector, labels) => {
      const parsed = parseSelector(renderSelector(selector));
      assert.ok(parsed.ok);
      assert.deepEqual(parsed.value, requirementsOf(selector));
      assert.equal(renderRequirements(parsed.value), renderSelector(selector));
      assert.equal(matchesRequirements(parsed.value, labels), matchesSelector(selector, labels));
    }),
  );
});

test("matchesRequirements compares whole numbers only", () => {
  const holds = (text: string, value: string): boolean => {
    const parsed = parseSelector(text);
    return parsed.ok && matchesRequirements(parsed.value, { n: value });
  };
  assert.ok(holds("n>3", "10"));
  assert.ok(!holds("n>3", "3"));
  assert.ok(holds("n<3", "-1"));
  assert.ok(!holds("n<3", "x"));
});

test("renderFieldSelector escapes what would separate", () => {
  assert.equal(
    renderFieldSelector({ "metadata.name": "a,b=c\\" }, { "spec.nodeName": "" }),
    String.raw`metadata.name=a\,b\=c\\,spec.nodeName!=`,
  );
});
