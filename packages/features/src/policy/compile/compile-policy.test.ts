import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { judge } from "../testing/mod.ts";
import { compileWorld } from "../testing/compiled-world.ts";
import { packets, policySets, worlds } from "./testing/arbitraries.ts";

test("compilePolicy makes a table that decides as the reference does, whatever the policies", () => {
  const counts = { allow: 0, deny: 0 };
  fc.assert(
    fc.property(policySets, worlds, fc.array(packets, { minLength: 40, maxLength: 40 }), (policies, world, asked) => {
      const compiled = compileWorld(policies, world);
      for (const packet of asked) {
        const expected = judge(policies, world, packet);
        const { verdict } = compiled.judge(packet);
        assert.equal(verdict === "pass" ? "allow" : "deny", expected.verdict, JSON.stringify({ packet, expected }));
        counts[expected.verdict]++;
      }
    }),
    { numRuns: Number(process.env["BPFLEET_POLICY_RUNS"] ?? 300) },
  );
  assert.ok(Math.min(counts.allow, counts.deny) > 0.2 * (counts.allow + counts.deny), JSON.stringify(counts));
});
