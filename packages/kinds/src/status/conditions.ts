import { canonicalJson, isRecord, renderTime } from "@bpfleet/base";
import type { Clock, Issue } from "@bpfleet/base";
import type { Condition } from "../kind.ts";

/** One aspect as it is now; `stampStatus` adds since when. */
export type Aspect = Pick<Condition, "type" | "status" | "reason" | "message">;

/** Mistakes that a status names; the issues themselves have them all. */
const maxMessages = 10;

interface StampSource {
  readonly previousStatus: unknown;
  readonly clock: Clock;
}

/**
 * Completes a status: conditions keep the time of their last change, `lastUpdated` the time when
 * anything here last changed. An unchanged object gets an equal status, so nobody has to write it.
 */
export function stampStatus<F extends object>(
  fields: F,
  aspects: readonly Aspect[],
  generation: number | undefined,
  source: StampSource,
): F & { conditions: Condition[]; lastUpdated: string; observedGeneration?: number } {
  const now = renderTime(source.clock.now());
  const previous = isRecord(source.previousStatus) ? source.previousStatus : {};
  const before = new Map(previousConditions(previous["conditions"]).map((condition) => [condition.type, condition]));
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  const conditions = aspects.map((aspect): Condition => {
    const earlier = before.get(aspect.type);
    const lastTransitionTime = earlier?.status === aspect.status ? earlier.lastTransitionTime : now;
    return { ...aspect, lastTransitionTime, ...observed };
  });
  const status = { ...fields, ...observed, conditions };
  const { lastUpdated, ...rest } = previous;
  const isSame = typeof lastUpdated === "string" && canonicalJson(rest) === canonicalJson(status);
  return { ...status, lastUpdated: isSame ? lastUpdated : now };
}

/** The status of an object that could not be read at all: nothing of it is asked of the kernel. */
export function refusedStatus(issues: readonly Issue[], source: StampSource): unknown {
  const errors = issues.filter((issue) => issue.severity === "error");
  const rest = errors.length - maxMessages;
  const message =
    errors
      .slice(0, maxMessages)
      .map((issue) => issue.message)
      .join("; ") + (rest > 0 ? `; and ${rest} more` : "");
  const aspects: Aspect[] = [
    { type: "Ready", status: "False", reason: "Invalid", message },
    { type: "Accepted", status: "False", reason: "Invalid", message },
  ];
  return stampStatus({ state: "Failed", reason: message }, aspects, undefined, source);
}

/** Of a status that was read; what is no condition is left out. */
export function previousConditions(conditions: unknown): readonly Condition[] {
  return Array.isArray(conditions)
    ? conditions.filter(
        (condition): condition is Condition => isRecord(condition) && typeof condition["type"] === "string",
      )
    : [];
}
