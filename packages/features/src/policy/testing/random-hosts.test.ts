import assert from "node:assert/strict";
import { test } from "node:test";
import { compileObjects, disagrees, verdictsOf } from "./compiled-objects.ts";
import { minimise } from "./minimise.ts";
import { ClauseCounts } from "./random-cases.ts";
import { hostClauses, randomHostCases } from "./random-hosts.ts";
import { tellCounterexample } from "./tell-counterexample.ts";

const pairs = Number(process.env["BPFLEET_POLICY_PAIRS"] ?? 10_000);
const seed = Number(process.env["BPFLEET_POLICY_SEED"] ?? 1);

test("compilePolicy and judgeTable decide of the node itself as the reference does", async () => {
  const counts = new ClauseCounts(hostClauses);
  let count = 0;
  for (const { world, policies, others, packets } of randomHostCases(seed)) {
    const compiled = compileObjects({ world, policies, others });
    for (const judged of packets) {
      const { packet, judgement } = judged;
      counts.add(judged);
      count++;
      // Passes without a look into the table.
      if (judgement.because.by === "upkeep") continue;
      const { found, expected } = compiled.compare(packet, judgement);
      if (found === expected) continue;
      const least = await minimise({ world, policies, others, packet }, disagrees);
      assert.fail(`seed ${seed}, pair ${count}: ${tellCounterexample(least, verdictsOf(least))}`);
    }
    if (count >= pairs) break;
  }
  assert.deepEqual(counts.tooRare, []);
});
