import { troubleConditions, type Condition } from "@bpfleet/kinds";
import type { ObjectEvent } from "./report.ts";

const keptEvents = 20;
/** What is still being done is no news: its end is. */
const inProgress = "InProgress";

/** The events of an object after its conditions changed from `before` to `after`: one for each that is news. */
export function nextEvents(
  events: readonly ObjectEvent[],
  before: unknown,
  after: unknown,
  now: string,
): readonly ObjectEvent[] {
  const known = new Map(conditionsOf(before).map((condition) => [condition.type, condition]));
  let next = events;
  const told = new Set<string>();
  for (const condition of conditionsOf(after)) {
    const earlier = known.get(condition.type);
    if (condition.status === "Unknown" || condition.reason === inProgress || condition.message === "") continue;
    if (earlier?.status === condition.status && earlier.reason === condition.reason) continue;
    // Several conditions may have one cause.
    const cause = `${condition.status} ${condition.reason} ${condition.message}`;
    if (told.has(cause)) continue;
    told.add(cause);
    next = addEvent(
      next,
      condition.status === "False" || troubleConditions.includes(condition.type) ? "Warning" : "Normal",
      condition.reason,
      condition.message,
      now,
    );
  }
  return next;
}

/** An event that repeats an earlier one makes that one count. */
function addEvent(
  events: readonly ObjectEvent[],
  type: ObjectEvent["type"],
  reason: string,
  message: string,
  now: string,
): readonly ObjectEvent[] {
  const isSame = (event: ObjectEvent) => event.type === type && event.reason === reason && event.message === message;
  const earlier = events.find(isSame);
  const event: ObjectEvent = {
    type,
    reason,
    message,
    count: (earlier?.count ?? 0) + 1,
    firstTimestamp: earlier?.firstTimestamp ?? now,
    lastTimestamp: now,
  };
  return [...events.filter((each) => !isSame(each)), event].slice(-keptEvents);
}

export function conditionsOf(status: unknown): readonly Condition[] {
  if (typeof status !== "object" || status === null || !("conditions" in status) || !Array.isArray(status.conditions))
    return [];
  return status.conditions.filter(
    (condition): condition is Condition => typeof condition === "object" && condition !== null && "type" in condition,
  );
}
