import type { IssueList } from "../../schema/admit.ts";

/** Says which rules are never reached, where the first that matches decides. */
export function warnOfUnreached(
  rules: readonly unknown[] | undefined,
  path: string,
  found: IssueList,
  takesAll: (rule: never) => boolean,
): void {
  if (!Array.isArray(rules) || !found.isSound(path)) return;
  const last = rules.findIndex((rule) => (takesAll as (rule: unknown) => boolean)(rule));
  if (last < 0 || last === rules.length - 1) return;
  found.warning(
    `${path}/${last + 1}`,
    "unreached",
    `is never reached, nor is what follows: position ${last} takes everything`,
  );
}
