import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const nodeColumns: readonly Column[] = [
  ageColumn,
  {
    name: "Internal-IP",
    jsonPath: '.status.addresses[?(@.type=="InternalIP")].address',
    type: "string",
    priority: 1,
    description: "The addresses by which the node is known inside.",
  },
];
