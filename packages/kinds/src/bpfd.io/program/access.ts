import type { KindAccess } from "../../access.ts";

/** The agent makes these objects, one for each config on its node. */
export function programAccess(plural: string): readonly KindAccess[] {
  return [
    { resource: plural, verbs: ["get", "list", "watch", "create", "patch", "delete"] },
    { resource: `${plural}/status`, verbs: ["get", "patch"] },
  ];
}
