import type { Clock } from "@bpfleet/base";
import type { Condition } from "../kind.ts";
import { previousConditions, renderTime } from "../status/conditions.ts";
import type { Aspect } from "../status/conditions.ts";
import { isRecord } from "../yaml/read-yaml.ts";

/** Why something is not as asked: ours, beside bpfd's fixed messages. It comes first, for the last one is current. */
export const causeType = "Cause";

export type Said = Pick<Aspect, "type" | "reason" | "message">;

/**
 * Conditions as bpfd keeps them: every type that was ever true stays, with status True, and the last one is current.
 * Our own `Cause` is there only as long as there is one.
 */
export function nextConditions(
  previousStatus: unknown,
  said: readonly Said[],
  cause: Pick<Aspect, "reason" | "message"> | undefined,
  knownTypes: readonly string[],
  clock: Clock,
): readonly Condition[] {
  const now = renderTime(clock.now());
  const before = previousConditions(isRecord(previousStatus) ? previousStatus["conditions"] : undefined);
  const stamp = (aspect: Said, since: string): Condition => ({ ...aspect, status: "True", lastTransitionTime: since });
  let kept = before.filter(({ type }) => type !== causeType && knownTypes.includes(type));
  for (const aspect of said) {
    const last = kept.at(-1);
    const since = last?.type === aspect.type ? last.lastTransitionTime : now;
    kept = [...kept.filter(({ type }) => type !== aspect.type), stamp(aspect, since)];
  }
  if (cause === undefined) return kept;
  const earlier = before.find(({ type, reason }) => type === causeType && reason === cause.reason);
  const { reason, message } = cause;
  return [stamp({ type: causeType, reason, message }, earlier?.lastTransitionTime ?? now), ...kept];
}
