import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLabelSelector } from "./label-selector.ts";

test("parseLabelSelector understands what kubectl understands", () => {
  const labels = { team: "net", tier: "edge", empty: "" };
  const cases: [selector: string, matches: boolean][] = [
    ["team=net", true],
    ["team==net,tier=edge", true],
    ["team!=net", false],
    ["other!=x", true],
    ["tier in (core, edge)", true],
    ["tier notin (core,edge)", false],
    ["other notin (x)", true],
    ["other in (x)", false],
    ["team", true],
    ["!team", false],
    ["!other", true],
    ["empty=", true],
    ["", true],
    ["tier in (core,edge),team=net,!gone", true],
    ["app.io/x", false],
  ];
  for (const [selector, matches] of cases) assert.equal(parseLabelSelector(selector)(labels), matches, selector);
});

test("parseLabelSelector refuses what is no selector", () => {
  for (const selector of ["=x", "a=b=c", "a in b", "a b", "a in (", "-x"]) {
    assert.throws(() => parseLabelSelector(selector), /unable to parse requirement/, selector);
  }
});
