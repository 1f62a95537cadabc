import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const endpointSliceColumns: readonly Column[] = [
  {
    name: "Service",
    jsonPath: ".metadata.labels.kubernetes\\.io/service-name",
    type: "string",
    priority: 0,
    description: "The Service whose back ends these are.",
  },
  ageColumn,
];
