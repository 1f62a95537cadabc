import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const serviceColumns: readonly Column[] = [
  {
    name: "Cluster-IP",
    jsonPath: ".spec.clusterIP",
    type: "string",
    priority: 0,
    description: "The address by which clients in the cluster know it.",
  },
  ageColumn,
];
