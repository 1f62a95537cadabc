import { compileWorld, type CompiledWorld } from "./compiled-world.ts";
import { compareDecision, type Verdicts } from "./deciding-rule.ts";
import type { Counterexample } from "./minimise.ts";
import { throughObjects } from "./read-objects.ts";
import { judge, type Judgement } from "./reference.ts";
import type { WorldPacket } from "./world.ts";

export interface CompiledObjects {
  readonly world: CompiledWorld;
  /** What the table says of the packet, and by which rule, beside what the documents say. */
  compare(packet: WorldPacket, judgement: Judgement): Verdicts;
}

/** Of the policies as they are read of their objects. */
export function compileObjects({ world, ...written }: Omit<Counterexample, "packet">): CompiledObjects {
  const { policies, others, places } = throughObjects(written);
  const enforced = policies.filter(({ mode }) => mode === "enforce");
  const compiled = compileWorld(enforced, world, others);
  const { rules } = compiled.compiled;
  return {
    world: compiled,
    compare(packet, judgement) {
      const { verdict, rule } = compiled.judge(packet);
      return compareDecision(verdict, judgement, rules[rule - 1], places);
    },
  };
}

/** Whether the table says otherwise than the documents, or by another rule. */
export function disagrees(found: Counterexample): boolean {
  const { found: decided, expected } = verdictsOf(found);
  return decided !== expected;
}

/** Of the table and of the documents. */
export function verdictsOf({ packet, ...situation }: Counterexample): Verdicts {
  const { world, policies, others } = situation;
  return compileObjects(situation).compare(packet, judge(policies, world, packet, others));
}
