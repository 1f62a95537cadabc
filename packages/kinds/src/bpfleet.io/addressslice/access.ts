import type { KindAccess } from "../../access.ts";

/** The agent only reads them; the operator makes them. */
export const sliceAccess: readonly KindAccess[] = [{ resource: "addressslices", verbs: ["get", "list", "watch"] }];
