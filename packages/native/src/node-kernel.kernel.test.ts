import assert from "node:assert/strict";
import { after } from "node:test";
import { kernelPortContract } from "@bpfleet/kernel/contract";
import { nodeHarness } from "./testing/kernel-harness.ts";
import { openDescriptors } from "./testing/kernel-sandbox.ts";

const before = openDescriptors();
after(() => {
  const left = openDescriptors() - before;
  // The runner itself opens a few; a leak would be one per test at least.
  assert.ok(left < 10, `${left} descriptors are left`);
});

kernelPortContract("NodeKernel", nodeHarness);
