import type { Column } from "../../kind.ts";
import { ageColumn, nodesColumns, readyColumns } from "../../schema/columns.ts";

export const natPolicyColumns: readonly Column[] = [
  { name: "Type", jsonPath: ".spec.type", type: "string", priority: 0, description: "What is translated." },
  {
    name: "Interface",
    jsonPath: ".spec.interface",
    type: "string",
    priority: 0,
    description: "The network interface.",
  },
  {
    name: "External-IP",
    jsonPath: ".spec.externalIP",
    type: "string",
    priority: 0,
    description: "The address of the outside.",
  },
  ...readyColumns,
  ageColumn,
  ...nodesColumns,
  { name: "Priority", jsonPath: ".spec.priority", type: "integer", priority: 1, description: "Lower decides first." },
  {
    name: "Connections",
    jsonPath: ".status.activeConnections",
    type: "integer",
    priority: 1,
    description: "Connections that are translated now.",
  },
  {
    name: "Translations",
    jsonPath: ".status.metrics.translations",
    type: "integer",
    priority: 1,
    description: "Connections that were translated.",
  },
];
