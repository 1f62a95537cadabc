import type { KindAccess } from "../../access.ts";

export const nodeAccess: readonly KindAccess[] = [{ resource: "nodes", verbs: ["get", "list", "watch"] }];
