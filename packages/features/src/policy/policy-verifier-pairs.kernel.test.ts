import assert from "node:assert/strict";
import { test } from "node:test";
import { everyPair } from "./testing/combinations.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";

/** Of the kernel's million. */
const most = 600_000;

/** What is in the programs only where the plan of a node needs it. */
const optional = ["has_effects", "heeds_names", "keeps_accounts", "translates_services", "tries_policies"] as const;

for (const combination of everyPair(optional)) {
  const asked = optional.filter((name) => combination[name]);
  test(`the verifier takes the programs with ${asked.join(", ") || "nothing that is optional"}`, async () => {
    await using policy = await LoadedPolicy.load(64, combination, false);
    for (const [direction, instructions] of Object.entries(policy.verifiedInstructions))
      assert.ok(instructions < most, `${direction}: ${instructions} instructions`);
  });
}
