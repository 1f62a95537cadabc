import type { Column } from "../../kind.ts";
import { ageColumn, nodesColumns, readyColumns } from "../../schema/columns.ts";

export const trafficControlColumns: readonly Column[] = [
  {
    name: "Interface",
    jsonPath: ".spec.interface",
    type: "string",
    priority: 0,
    description: "The network interface.",
  },
  {
    name: "Direction",
    jsonPath: ".spec.direction",
    type: "string",
    priority: 0,
    description: "ingress or egress.",
  },
  {
    name: "Discipline",
    jsonPath: ".spec.queueingDiscipline.type",
    type: "string",
    priority: 0,
    description: "How packets wait.",
  },
  ...readyColumns,
  ageColumn,
  ...nodesColumns,
  {
    name: "Rate",
    jsonPath: ".spec.queueingDiscipline.rate",
    type: "string",
    priority: 1,
    description: "Rate of the whole interface.",
  },
  { name: "Drops", jsonPath: ".status.metrics.drops", type: "integer", priority: 1, description: "Packets dropped." },
];
