import type { Column } from "../../kind.ts";
import { ageColumn, nodesColumns } from "../../schema/columns.ts";

export const programColumns: readonly Column[] = [
  {
    name: "Type",
    jsonPath: ".spec.type",
    type: "string",
    priority: 0,
    description: "Where in the kernel the program runs.",
  },
  {
    name: "Interface",
    jsonPath: ".spec.interface",
    type: "string",
    priority: 0,
    description: "The network interface.",
  },
  { name: "State", jsonPath: ".status.state", type: "string", priority: 0, description: "Pending, Active or Failed." },
  ageColumn,
  ...nodesColumns,
  { name: "Mode", jsonPath: ".status.mode", type: "string", priority: 1, description: "How the program runs." },
  {
    name: "Priority",
    jsonPath: ".spec.priority",
    type: "integer",
    priority: 1,
    description: "Order on the interface; lower runs first.",
  },
  {
    name: "Dropped",
    jsonPath: ".status.metrics.packetsDropped",
    type: "integer",
    priority: 1,
    description: "Packets dropped.",
  },
  {
    name: "Node",
    jsonPath: ".status.node",
    type: "string",
    priority: 1,
    description: "The node that the status is of.",
  },
  {
    name: "Reason",
    jsonPath: ".status.reason",
    type: "string",
    priority: 1,
    description: "Why the state is what it is.",
  },
];
