import { errorText, refKey } from "@bpfleet/base";
import type { RuleRef } from "@bpfleet/kernel";
import { PolicyTableLimitError } from "../table/policy-table.ts";
import { writeTable, type WrittenTable } from "../table/write-table.ts";
import { CompileMemory } from "./compile-memory.ts";
import { compilePolicy, type CompileFacts, type CompiledPolicy, type PolicyInput } from "./compile-policy.ts";
import { mistakeText, policyLimits, type ClosedPolicy, type PolicyLimits } from "./limits.ts";

export interface WrittenPolicy extends CompiledPolicy {
  readonly written: WrittenTable;
}

/**
 * The table of all policies. What cannot be served is closed by object: by the largest, where all together are too
 * large; by what fails alone, where compiling fails. Throws when it fails without any policy to blame.
 */
export function compileSafely(
  input: PolicyInput,
  facts: CompileFacts,
  slotOf: (rules: readonly RuleRef[]) => number,
  limits: PolicyLimits = policyLimits,
  memory = new CompileMemory(),
): WrittenPolicy {
  const closed = new Map<string, ClosedPolicy>();
  try {
    return compileWithin(input, facts, slotOf, limits, closed, memory);
  } catch (error) {
    const culprits = input.policies.filter((intent) => {
      const alone = { ...input, policies: [intent] };
      return attempt(() => compileWithin(alone, facts, slotOf, limits, new Map(), new CompileMemory())) !== undefined;
    });
    if (culprits.length === 0) throw error;
    for (const { policy } of culprits)
      closed.set(refKey(policy.ref), { ref: policy.ref, why: mistakeText("compile", error) });
    return compileWithin(input, facts, slotOf, limits, closed, new CompileMemory());
  }
}

/** `closed` grows. */
function compileWithin(
  input: PolicyInput,
  facts: CompileFacts,
  slotOf: (rules: readonly RuleRef[]) => number,
  limits: PolicyLimits,
  closed: Map<string, ClosedPolicy>,
  memory: CompileMemory,
): WrittenPolicy {
  for (;;) {
    const compiled = compilePolicy(input, facts, slotOf, limits, closed, memory);
    try {
      return { ...compiled, written: writeTable(compiled.table) };
    } catch (error) {
      const most = error instanceof PolicyTableLimitError ? largestOf(compiled, closed) : undefined;
      if (most === undefined) throw error;
      closed.set(refKey(most.ref), { ...most, why: errorText(error) });
    }
  }
}

function largestOf(
  { selection, rulesOf }: CompiledPolicy,
  closed: ReadonlyMap<string, ClosedPolicy>,
): { ref: ClosedPolicy["ref"] } | undefined {
  const open = selection.statements.filter(({ intent }) => !closed.has(refKey(intent.policy.ref)));
  const size = (ref: ClosedPolicy["ref"]): number => rulesOf.get(refKey(ref))?.length ?? 0;
  const refs = open.map(({ intent }) => intent.policy.ref).toSorted((a, b) => size(b) - size(a));
  const [ref] = refs;
  return ref && { ref };
}

function attempt(run: () => unknown): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
}
