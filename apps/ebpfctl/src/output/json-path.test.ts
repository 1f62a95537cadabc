import assert from "node:assert/strict";
import { test } from "node:test";
import { findByPath, JsonPathError, renderTemplate } from "./json-path.ts";

const list = {
  items: [
    {
      metadata: { name: "a", labels: { "app.io/x": "1" } },
      status: { conditions: [{ type: "Ready", status: "True" }], packets: 5 },
    },
    { metadata: { name: "b", labels: {} }, status: { conditions: [{ type: "Ready", status: "False" }], packets: 12 } },
  ],
};

test("findByPath follows the forms that columns and kubectl use", () => {
  const cases: [string, unknown[]][] = [
    [".items[0].metadata.name", ["a"]],
    ["{.items[*].metadata.name}", ["a", "b"]],
    [".items[-1].metadata.name", ["b"]],
    [".items[0:1].metadata.name", ["a"]],
    ["items[1].status.packets", [12]],
    [".items[0].metadata.labels['app.io/x']", ["1"]],
    [".items[0].metadata.labels.app\\.io/x", ["1"]],
    ['.items[?(@.status.conditions[0].status=="True")].metadata.name', ["a"]],
    ['.items[0].status.conditions[?(@.type=="Ready")].status', ["True"]],
    [".items[?(@.status.packets > 5)].metadata.name", ["b"]],
    ["..packets", [5, 12]],
    [".nothing.here", []],
    [".items[7]", []],
  ];
  for (const [path, values] of cases) {
    assert.deepEqual(findByPath(path, list), values, path);
  }
});

test("renderTemplate writes text, ranges and values as kubectl does", () => {
  assert.equal(
    renderTemplate('{range .items[*]}{.metadata.name}{"\\t"}{.status.packets}{"\\n"}{end}', list),
    "a\t5\nb\t12\n",
  );
  assert.equal(renderTemplate("{.items[*].metadata.name}", list), "a b");
  assert.equal(renderTemplate(".items[0].metadata.name", list), "a");
  assert.equal(renderTemplate("name={.items[0].metadata.name}!", list), "name=a!");
  assert.equal(renderTemplate("{.items[0].metadata}", list), '{"name":"a","labels":{"app.io/x":"1"}}');
});

test("renderTemplate refuses what it does not understand", () => {
  for (const template of ["{range .items[*]}", "{end}", "{.items[}", "{.a", "{.items[?(@.x==y)]}"]) {
    assert.throws(() => renderTemplate(template, list), JsonPathError, template);
  }
});
