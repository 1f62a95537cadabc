import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { alignTabs, describeTabs, renderAge, renderTable, textWidth } from "./text-table.ts";

test("renderTable prints what kubectl get prints", () => {
  const text = renderTable(
    ["NAME", "TYPE", "INTERFACE", "STATE", "AGE"],
    [
      ["xdp-packet-filter", "xdp", "eth0", "Active", "5m"],
      ["x", "tc-ingress", "", "Pending", "12s"],
    ],
  );
  assert.equal(
    text,
    "NAME                TYPE         INTERFACE   STATE     AGE\n" +
      "xdp-packet-filter   xdp          eth0        Active    5m\n" +
      "x                   tc-ingress               Pending   12s\n",
  );
});

test("renderTable keeps a narrow column at kubectl's least width", () => {
  assert.equal(renderTable(["A", "B"], [["1", "2"]]), "A     B\n1     2\n");
});

test("renderTable keeps one line a row when a cell has line feeds", () => {
  assert.equal(renderTable(undefined, [["a\nb", "c"]]), "a b   c\n");
});

test("renderTable of nothing is nothing", () => {
  assert.equal(renderTable(undefined, []), "");
});

test("alignTabs aligns adjacent lines only", () => {
  const text = alignTabs(
    ["Name:\tx", "Namespace:\tdefault", "Spec:", "  Type:\txdp", "  Long Label:\t1"],
    describeTabs,
  );
  assert.equal(text, "Name:       x\nNamespace:  default\nSpec:\n  Type:        xdp\n  Long Label:  1");
});

test("alignTabs starts every cell of a column at the same place", () => {
  const cell = fc.stringMatching(/^[a-z]{0,9}$/);
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell, cell), { minLength: 1 }), (rows) => {
      const lines = alignTabs(
        rows.map((row) => `${row[0]}\t${row[1]}\t|${row[2]}`),
        describeTabs,
      ).split("\n");
      assert.equal(new Set(lines.map((line) => line.indexOf("|"))).size, 1);
    }),
  );
});

test("textWidth counts wide characters twice and marks not at all", () => {
  assert.equal(textWidth("ab"), 2);
  assert.equal(textWidth("日本"), 4);
  assert.equal(textWidth("e\u0301"), 1);
});

test("renderAge writes ages as kubectl does", () => {
  const second = 1000;
  const minute = 60 * second;
  const hour = 60 * minute;
  const day = 24 * hour;
  const cases: [number, string][] = [
    [-5 * second, "<invalid>"],
    [-1 * second, "0s"],
    [0, "0s"],
    [119 * second, "119s"],
    [2 * minute, "2m"],
    [3 * minute + 12 * second, "3m12s"],
    [10 * minute + 30 * second, "10m"],
    [179 * minute, "179m"],
    [3 * hour, "3h"],
    [3 * hour + 5 * minute, "3h5m"],
    [8 * hour + 5 * minute, "8h"],
    [47 * hour, "47h"],
    [48 * hour, "2d"],
    [50 * hour, "2d2h"],
    [8 * day, "8d"],
    [729 * day, "729d"],
    [730 * day, "2y"],
    [735 * day, "2y5d"],
    [2920 * day, "8y"],
  ];
  for (const [age, text] of cases) assert.equal(renderAge(age), text);
});
