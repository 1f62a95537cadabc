import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const columns: readonly Column[] = [
  {
    name: "Pod-Selector",
    jsonPath: ".spec.podSelector.matchLabels",
    type: "string",
    priority: 0,
    description: "The pods whose traffic is judged.",
  },
  ageColumn,
];
