import assert from "node:assert/strict";
import { test } from "node:test";
import { compileObjects } from "./compiled-objects.ts";
import { minimise, type Counterexample } from "./minimise.ts";
import { ClauseCounts } from "./random-cases.ts";
import { hostClauses, randomHostCases } from "./random-hosts.ts";
import { judge } from "./reference.ts";
import { tellCounterexample } from "./tell-counterexample.ts";

const pairs = Number(process.env["BPFLEET_POLICY_PAIRS"] ?? 10_000);
const seed = Number(process.env["BPFLEET_POLICY_SEED"] ?? 1);

function disagrees({ packet, ...situation }: Counterexample): boolean {
  const { world, policies, others } = situation;
  const { found, expected } = compileObjects(situation).compare(packet, judge(policies, world, packet, others));
  return found !== expected;
}

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
      const { packet: sent, ...least } = await minimise({ world, policies, others, packet }, disagrees);
      const verdicts = compileObjects(least).compare(sent, judge(least.policies, least.world, sent, least.others));
      assert.fail(`seed ${seed}, pair ${count}: ${tellCounterexample({ ...least, packet: sent }, verdicts)}`);
    }
    if (count >= pairs) break;
  }
  assert.deepEqual(counts.tooRare, []);
});
