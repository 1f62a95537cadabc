import { compileWorld, type CompiledWorld } from "./compiled-world.ts";
import { compareRules, type Verdicts } from "./deciding-rule.ts";
import type { Counterexample } from "./minimise.ts";
import { throughObjects } from "./read-objects.ts";
import type { Judgement } from "./reference.ts";
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
      const found = verdict === "pass" ? "allow" : "deny";
      if (found !== judgement.verdict) return { found, expected: judgement.verdict };
      return compareRules(judgement, rules[rule - 1], places);
    },
  };
}
