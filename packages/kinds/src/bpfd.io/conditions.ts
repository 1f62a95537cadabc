import { isRecord, renderTime, type Clock } from "@bpfleet/base";
import type { Condition } from "../kind.ts";
import { previousConditions } from "../status/conditions.ts";
import type { Aspect } from "../status/conditions.ts";

/** Ours beside bpfd's, whose fixed messages never say why. They come first, for the last condition is current. */
const ourTypes = ["Cause", "Note"];

/** Types of conditions whose being true is bad news: with bpfd every condition that is told is true. */
export const troubleConditions: readonly string[] = [
  "Cause",
  "NotLoaded",
  "NotUnLoaded",
  "ReconcileError",
  "DeleteError",
];

export type Said = Pick<Aspect, "type" | "reason" | "message">;

/**
 * Conditions as bpfd keeps them: every type that was ever true stays, with status True, and the last one is current.
 * Ours are there only as long as there is something to say.
 */
export function nextConditions(
  previousStatus: unknown,
  said: readonly Said[],
  ours: readonly Said[],
  knownTypes: readonly string[],
  clock: Clock,
): readonly Condition[] {
  const now = renderTime(clock.now());
  const before = previousConditions(isRecord(previousStatus) ? previousStatus["conditions"] : undefined);
  const stamp = (aspect: Said, since: string): Condition => ({ ...aspect, status: "True", lastTransitionTime: since });
  let kept = before.filter(({ type }) => !ourTypes.includes(type) && knownTypes.includes(type));
  for (const aspect of said) {
    const last = kept.at(-1);
    const since = last?.type === aspect.type ? last.lastTransitionTime : now;
    kept = [...kept.filter(({ type }) => type !== aspect.type), stamp(aspect, since)];
  }
  const own = ours.map((aspect) => {
    const earlier = before.find(({ type, reason }) => type === aspect.type && reason === aspect.reason);
    return stamp(aspect, earlier?.lastTransitionTime ?? now);
  });
  return [...own, ...kept];
}
