import { isRecord } from "@bpfleet/base";
import type { IssueList } from "./admit.ts";

/** Items of a list in which nothing is wrong, each with its path: a mistake in one keeps no other from being checked. */
export function soundItems<T>(
  items: readonly T[] | undefined,
  path: string,
  found: IssueList,
): readonly (readonly [item: T, at: string])[] {
  if (!Array.isArray(items)) return [];
  return (items as readonly T[])
    .map((item, index) => [item, `${path}/${index}`] as const)
    .filter(([, at]) => found.isSound(at));
}

/** Items of a list that have fields, with what is wrong in them or without, each with its path. */
export function recordItems<T extends object>(
  items: readonly T[] | undefined,
  path: string,
): readonly (readonly [item: T, at: string])[] {
  if (!Array.isArray(items)) return [];
  return (items as readonly T[])
    .map((item, index) => [item, `${path}/${index}`] as const)
    .filter(([item]) => isRecord(item));
}
