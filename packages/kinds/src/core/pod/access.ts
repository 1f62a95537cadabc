import type { KindAccess } from "../../access.ts";

export const podAccess: readonly KindAccess[] = [{ resource: "pods", verbs: ["get", "list", "watch"] }];
