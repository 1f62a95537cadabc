import type { KindAccess } from "../../access.ts";

export const namespaceAccess: readonly KindAccess[] = [{ resource: "namespaces", verbs: ["get", "list", "watch"] }];
