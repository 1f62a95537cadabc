import { errorText, type ObjectRef } from "@bpfleet/base";
import type { PlanProblem } from "@bpfleet/kernel";

/** What goes wrong inside of one object's work is that object's problem alone. */
export function guarded<T>(work: () => T): { readonly value: T } | { readonly bug: unknown } {
  try {
    return { value: work() };
  } catch (bug) {
    return { bug };
  }
}

export function bugProblem(object: ObjectRef, deed: string, bug: unknown): PlanProblem {
  return { origin: { object, path: "" }, reason: "InternalError", severity: "refused", message: bugText(deed, bug) };
}

export function bugText(deed: string, bug: unknown): string {
  return `${deed}: ${errorText(bug)}; report it with the object`;
}
