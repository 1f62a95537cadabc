import type { Column } from "../../kind.ts";
import { ageColumn, nodesColumns, readyColumns } from "../../schema/columns.ts";

export const containerPolicyColumns: readonly Column[] = [
  {
    name: "Ingress",
    jsonPath: ".spec.networkControls.defaultIngressAction",
    type: "string",
    priority: 0,
    description: "What becomes of packets to the pods that no rule names.",
  },
  {
    name: "Egress",
    jsonPath: ".spec.networkControls.defaultEgressAction",
    type: "string",
    priority: 0,
    description: "What becomes of packets from the pods that no rule names.",
  },
  ...readyColumns,
  ageColumn,
  ...nodesColumns,
  { name: "Priority", jsonPath: ".spec.priority", type: "integer", priority: 1, description: "Lower decides first." },
  {
    name: "Blocked",
    jsonPath: ".status.metrics.blocked",
    type: "integer",
    priority: 1,
    description: "Packets and connections that were refused.",
  },
];
