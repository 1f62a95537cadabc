import type { KindAccess } from "../../access.ts";

export const secretAccess: readonly KindAccess[] = [{ resource: "secrets", verbs: ["get", "list", "watch"] }];
