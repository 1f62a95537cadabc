import type { KindAccess } from "../../access.ts";

/** The agent writes the one of its node. */
export const nodeStateAccess: readonly KindAccess[] = [
  { resource: "nodestates", verbs: ["get", "create", "patch"] },
  { resource: "nodestates/status", verbs: ["get", "patch", "update"] },
];
