import { renderTime } from "@bpfleet/base";

/** https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number | undefined;
}

export type WantedCondition = Omit<Condition, "lastTransitionTime">;

const longestMessage = 32_768;

/** Sets conditions by type; the time of change is kept where the status stays, and the order of those that were there. */
export function setConditions(
  previous: readonly Condition[] | undefined,
  wanted: readonly WantedCondition[],
  nowMs: number,
): readonly Condition[] {
  const byType = new Map((previous ?? []).map((condition) => [condition.type, condition]));
  for (const condition of wanted) {
    const before = byType.get(condition.type);
    const lastTransitionTime = before?.status === condition.status ? before.lastTransitionTime : renderTime(nowMs);
    const message = condition.message.slice(0, longestMessage);
    byType.set(condition.type, { ...condition, message, lastTransitionTime });
  }
  return [...byType.values()];
}

export function findCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

export function isConditionTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === "True";
}

/** Whether a write is needed: times do not count. */
export function sameConditions(a: readonly Condition[] | undefined, b: readonly Condition[] | undefined): boolean {
  const [left, right] = [a ?? [], b ?? []];
  return (
    left.length === right.length &&
    left.every((condition) => {
      const other = findCondition(right, condition.type);
      return (
        other !== undefined &&
        other.status === condition.status &&
        other.reason === condition.reason &&
        other.message === condition.message &&
        other.observedGeneration === condition.observedGeneration
      );
    })
  );
}
