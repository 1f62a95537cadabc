import type { KindAccess } from "../../access.ts";

/** Kubernetes gives it no status. */
export const access: readonly KindAccess[] = [{ resource: "networkpolicies", verbs: ["get", "list", "watch"] }];
