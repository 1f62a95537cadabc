import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { joinPointer } from "../../yaml/places.ts";
import type { CiliumSelector } from "./rule-schema.ts";

const labelKey =
  /^(?:[a-z0-9-]+:)?(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?(?:\/[-A-Za-z0-9_./]*[A-Za-z0-9])?$/;

/** A source, a prefix and a name, of at most 253 and 63 characters. */
const maxKeyLength = 512;

function isLabelKey(key: string): boolean {
  return key.length <= maxKeyLength && labelKey.test(key);
}

/** What makes a selector impossible: keys that no label has, operators with the wrong number of values. */
export function checkSelector(
  { matchLabels = {}, matchExpressions = [] }: CiliumSelector,
  path: string,
  found: IssueList,
): void {
  for (const key of Object.keys(matchLabels))
    if (!isLabelKey(key)) wrongKey(key, joinPointer(`${path}/matchLabels`, key), found);
  for (const [index, { key, operator, values = [] }] of matchExpressions.entries()) {
    const at = `${path}/matchExpressions/${index}`;
    if (!isLabelKey(key)) wrongKey(key, `${at}/key`, found);
    const isListed = operator === "In" || operator === "NotIn";
    if (isListed && values.length === 0) found.error(`${at}/values`, "policy", `is required for operator ${operator}`);
    if (!isListed && values.length > 0)
      found.error(`${at}/values`, "policy", `must be left out for operator ${operator}`);
  }
}

function wrongKey(key: string, path: string, found: IssueList): void {
  found.error(path, "policy", `must be the name of a label, such as app or k8s:app, is ${describe(key)}`);
}
