import type { Column } from "../../kind.ts";
import { ageColumn, nodesColumns, readyColumns } from "../../schema/columns.ts";

export const networkPolicyColumns: readonly Column[] = [
  { name: "Type", jsonPath: ".spec.policyType", type: "string", priority: 0, description: "What the policy is about." },
  { name: "Priority", jsonPath: ".spec.priority", type: "integer", priority: 0, description: "Lower decides first." },
  ...readyColumns,
  ageColumn,
  ...nodesColumns,
  {
    name: "Matches",
    jsonPath: ".status.metrics.matches",
    type: "integer",
    priority: 1,
    description: "Packets that a rule decided.",
  },
  { name: "Drops", jsonPath: ".status.metrics.drops", type: "integer", priority: 1, description: "Packets dropped." },
];
