import assert from "node:assert/strict";
import { test } from "node:test";
import { programName } from "@bpfleet/kinds";
import type { NodeProgramHeader } from "./node-programs.ts";
import { nodeOf } from "./orphans.ts";

function program(name: string, owner: string, node?: string): NodeProgramHeader {
  return {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgram",
    metadata: { name },
    owner,
    ownerUid: undefined,
    node,
    lastCondition: undefined,
  };
}

const long = "x".repeat(250);
const names = new Set(["n1", "b-n1", "Odd_Node", long]);
const nodes = { has: (name: string) => names.has(name), names: () => names };

test("nodeOf finds the node by what the object says, by its name, and by the name that was made of a long one", () => {
  assert.equal(nodeOf(program("whatever", "a", "n1"), nodes), "n1");
  assert.equal(nodeOf(program("a-b-n1", "a"), nodes), "b-n1");
  assert.equal(nodeOf(program("a-b-n1", "a-b"), nodes), "n1");
  for (const node of ["Odd_Node", long]) assert.equal(nodeOf(program(programName("a", node), "a"), nodes), node);
});

test("nodeOf knows that a node is gone", () => {
  assert.equal(nodeOf(program("a-n2", "a"), nodes), undefined);
  assert.equal(nodeOf(program("a-n1", "a", "n2"), nodes), undefined);
  assert.equal(nodeOf(program("n1", "a"), nodes), undefined);
});
