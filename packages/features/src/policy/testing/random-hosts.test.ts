import assert from "node:assert/strict";
import { test } from "node:test";
import { compileWorld, type CompiledWorld } from "./compiled-world.ts";
import { minimise, type Counterexample } from "./minimise.ts";
import { ClauseCounts } from "./random-cases.ts";
import { hostClauses, randomHostCases } from "./random-hosts.ts";
import { throughObjects } from "./read-objects.ts";
import { judge } from "./reference.ts";
import { tellCounterexample } from "./tell-counterexample.ts";

const pairs = Number(process.env["BPFLEET_POLICY_PAIRS"] ?? 10_000);
const seed = Number(process.env["BPFLEET_POLICY_SEED"] ?? 1);

function disagrees({ world, policies, others, packet }: Counterexample): boolean {
  const found = compileObjects({ world, policies, others }).judge(packet).verdict === "pass";
  return found !== (judge(policies, world, packet, others).verdict === "allow");
}

/** Of the policies as they are read of their objects. */
function compileObjects({ world, ...written }: Pick<Counterexample, "world" | "policies" | "others">): CompiledWorld {
  const { policies, others } = throughObjects(written);
  return compileWorld(policies, world, others);
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
      if (compiled.judge(packet).verdict === (judgement.verdict === "allow" ? "pass" : "drop")) continue;
      const least = await minimise({ world, policies, others, packet }, disagrees);
      assert.fail(`seed ${seed}, pair ${count}: ${tellCounterexample(least, judgement)}`);
    }
    if (count >= pairs) break;
  }
  assert.deepEqual(counts.tooRare, []);
});
