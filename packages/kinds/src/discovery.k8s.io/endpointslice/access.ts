import type { KindAccess } from "../../access.ts";

export const endpointSliceAccess: readonly KindAccess[] = [
  { resource: "endpointslices", verbs: ["get", "list", "watch"] },
];
