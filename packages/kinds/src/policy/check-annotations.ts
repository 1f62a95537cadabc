import type { ObjectMeta } from "../kind.ts";
import { describe } from "../schema/admit.ts";
import type { IssueList } from "../schema/admit.ts";
import { joinPointer } from "../yaml/places.ts";
import { modeAnnotation, onRevokeAnnotation } from "./annotations.ts";

/** The first one holds where another word stands: the one that lets least through. */
const meanings: Readonly<Record<string, readonly [string, ...string[]]>> = {
  [modeAnnotation]: ["enforce", "shadow"],
  [onRevokeAnnotation]: ["cut", "keep"],
};

/**
 * A misspelt mode must not be taken for another one in silence. Nor must it keep the policy from being in force: an API
 * server that knows nothing of these annotations has taken it, and whom it selects counts as isolated.
 */
export function checkPolicyAnnotations(metadata: ObjectMeta, found: IssueList): void {
  if (!found.isSound("/metadata/annotations")) return;
  for (const [name, values] of Object.entries(meanings)) {
    const value = metadata.annotations?.[name];
    if (value !== undefined && !values.includes(value))
      found.warning(
        joinPointer("/metadata/annotations", name),
        "policy",
        `must be ${values.join(" or ")}, is ${describe(value)}; read as ${values[0]}`,
      );
  }
}
