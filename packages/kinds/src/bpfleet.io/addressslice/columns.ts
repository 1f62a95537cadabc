import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const sliceColumns: readonly Column[] = [
  { name: "Of", jsonPath: ".spec.of", type: "string", priority: 0, description: "What the addresses are of." },
  {
    name: "Namespace",
    jsonPath: ".spec.namespace",
    type: "string",
    priority: 0,
    description: "The namespace of the pods.",
  },
  {
    name: "First",
    jsonPath: ".spec.addresses[0].ip",
    type: "string",
    priority: 0,
    description: "The first of the addresses.",
  },
  ageColumn,
];
