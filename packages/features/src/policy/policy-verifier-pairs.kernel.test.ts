import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { BpfObject } from "@bpfleet/native";
import { everyPair } from "./testing/combinations.ts";
import { LoadedPolicy, policyObject } from "./testing/loaded-policy.ts";

/** Of the kernel's million. */
const most = 600_000;

/** Twins are other programs, and fragments come to XDP. */
const fixed: readonly string[] = ["dry_run", "takes_fragments"];

/** What is in the programs only where the plan of a node needs it: the variables of one byte. */
async function findSwitches(): Promise<readonly string[]> {
  await using object = BpfObject.open(readFileSync(policyObject), { name: "policy" });
  const switches = object.globals().filter(({ section, size }) => section === ".rodata" && size === 1);
  return switches.map(({ name }) => name).filter((name) => !fixed.includes(name));
}

const optional = await findSwitches();
assert.ok(optional.includes("heeds_names") && optional.length >= 5);

for (const combination of everyPair(optional)) {
  const asked = optional.filter((name) => combination[name]);
  test(`the verifier takes the programs with ${asked.join(", ") || "nothing that is optional"}`, async () => {
    await using policy = await LoadedPolicy.load(64, combination, false);
    for (const [direction, instructions] of Object.entries(policy.verifiedInstructions))
      assert.ok(instructions < most, `${direction}: ${instructions} instructions`);
  });
}
