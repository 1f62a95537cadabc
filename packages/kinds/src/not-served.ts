import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed } from "./kind.ts";
import { renderPath } from "./yaml/places.ts";

/** Reason of what is accepted and checked, but that nothing serves yet: a condition has it, and the object is not Ready. */
export const notServedReason = "NotServed";

/** The field at `path`, or with `/spec` the whole object, is not served yet; `so` says what that means or what helps. */
export function notServed(parsed: Parsed, path: string, so: string): PlanProblem {
  const what = path === "/spec" ? parsed.ref.kind : renderPath(path);
  return {
    origin: { object: parsed.ref, path, position: parsed.positionOf(path) },
    reason: notServedReason,
    message: `${what} is not served yet; ${so}`,
    severity: "refused",
  };
}

/** What a kind lowers to whose feature comes later: a problem for each part that is asked for. */
export function lowerNothing(problems: readonly PlanProblem[]): Lowered {
  return { intents: [], problems };
}
