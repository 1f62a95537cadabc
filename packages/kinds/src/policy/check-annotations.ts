import type { ObjectMeta } from "../kind.ts";
import { describe } from "../schema/admit.ts";
import type { IssueList } from "../schema/admit.ts";
import { joinPointer } from "../yaml/places.ts";
import { modeAnnotation, onRevokeAnnotation } from "./annotations.ts";

const meanings: Readonly<Record<string, readonly string[]>> = {
  [modeAnnotation]: ["enforce", "shadow"],
  [onRevokeAnnotation]: ["cut", "keep"],
};

/** A misspelt mode must not be taken for another one in silence. */
export function checkPolicyAnnotations(metadata: ObjectMeta, found: IssueList): void {
  if (!found.isSound("/metadata/annotations")) return;
  for (const [name, values] of Object.entries(meanings)) {
    const value = metadata.annotations?.[name];
    if (value !== undefined && !values.includes(value))
      found.error(
        joinPointer("/metadata/annotations", name),
        "policy",
        `must be ${values.join(" or ")}, is ${describe(value)}`,
      );
  }
}
