import type { KindAccess } from "../../access.ts";

export const serviceAccess: readonly KindAccess[] = [{ resource: "services", verbs: ["get", "list", "watch"] }];
