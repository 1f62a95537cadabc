import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bitsOf,
  ClauseCounts,
  judge,
  minimise,
  randomCases,
  tellCounterexample,
  type Counterexample,
  type JudgedPacket,
} from "./mod.ts";
import { compileObjects, disagrees, verdictsOf, type CompiledObjects } from "./compiled-objects.ts";
import type { Verdicts } from "./deciding-rule.ts";
import type { Place } from "./reference-services.ts";

const pairs = Number(process.env["BPFLEET_POLICY_PAIRS"] ?? 100_000);
const seed = Number(process.env["BPFLEET_POLICY_SEED"] ?? 1);

/** Where nobody is behind a Service, only pods that may send whatever they want do. */
function compare(compiled: CompiledObjects, { packet, sent, judgement }: JudgedPacket): Verdicts {
  if (sent?.places.length !== 0) return compiled.compare(packet, judgement);
  const { reason } = compiled.world.judge(packet);
  const found = reason === "unrestricted" || reason === "not_judged" ? "allow" : "deny";
  return { found, expected: judgement.verdict };
}

function comparePlaces(found: readonly string[] | undefined, expected: readonly Place[]): void {
  const texts = expected.map(({ address, port }) => `${mapped(address).join()} ${port}`);
  assert.deepEqual(found?.toSorted(), [...new Set(texts)].toSorted());
}

/** In four words. */
function mapped(address: string): readonly number[] {
  const bits = bitsOf(address);
  const whole = bits.length === 128 ? bits : "0".repeat(80) + "1".repeat(16) + bits;
  return [0, 1, 2, 3].map((at) => Number.parseInt(whole.slice(at * 32, at * 32 + 32), 2));
}

async function tell(found: Counterexample): Promise<string> {
  const least = await minimise(found, disagrees);
  return tellCounterexample(least, verdictsOf(least));
}

test("compilePolicy and judgeTable decide as the reference does, each clause often enough to tell", async () => {
  const counts = new ClauseCounts();
  let count = 0;
  for (const { world, policies, others, packets } of randomCases(seed)) {
    const compiled = compileObjects({ world, policies, others });
    for (const judged of packets) {
      const { packet, sent } = judged;
      if (sent !== undefined) comparePlaces(compiled.world.placesBehind(sent.packet), sent.places);
      else assert.equal(compiled.world.placesBehind(packet), undefined);
      const { found, expected } = compare(compiled, judged);
      if (found !== expected)
        assert.fail(`seed ${seed}, pair ${count}: ${await tell({ world, policies, others, packet })}`);
      counts.add(judged);
      count++;
    }
    if (count >= pairs) break;
  }
  assert.deepEqual(counts.tooRare, []);
});

test("randomCases are the same for one seed, and others for another", () => {
  const first = (from: number): string => JSON.stringify(randomCases(from, 5).next().value);
  assert.equal(first(7), first(7));
  assert.notEqual(first(7), first(8));
});

test("minimise leaves nothing that could be dropped", async () => {
  const isDenied = ({ world, policies, others, packet }: Counterexample): boolean => {
    const { because } = judge(policies, world, packet, others);
    return because.by === "default-deny" && because.tier === "policy";
  };
  let count = 0;
  for (const { world, policies, others, packets } of randomCases(3)) {
    const judged = packets.find(({ packet }) => isDenied({ world, policies, others, packet }));
    if (judged === undefined) continue;
    const least = await minimise({ world, policies, others, packet: judged.packet }, isDenied);
    const { pods, nodes } = least.world;
    assert.deepEqual(
      [
        least.policies.length,
        least.policies[0]?.statements.length,
        least.others.fallback.length,
        pods.length,
        nodes.length,
      ],
      [1, 1, 0, 1, 0],
    );
    if (++count === 20) break;
  }
});
