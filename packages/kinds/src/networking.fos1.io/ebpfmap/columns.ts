import type { Column } from "../../kind.ts";
import { ageColumn, nodesColumns } from "../../schema/columns.ts";

export const mapColumns: readonly Column[] = [
  {
    name: "Type",
    jsonPath: ".spec.type",
    type: "string",
    priority: 0,
    description: "What kind of data structure it is.",
  },
  { name: "Max", jsonPath: ".spec.maxEntries", type: "integer", priority: 0, description: "Most entries it holds." },
  { name: "Entries", jsonPath: ".status.entryCount", type: "integer", priority: 0, description: "Entries in it." },
  { name: "State", jsonPath: ".status.state", type: "string", priority: 0, description: "Pending, Created or Failed." },
  ageColumn,
  ...nodesColumns,
  {
    name: "Pin",
    jsonPath: ".status.pinPath",
    type: "string",
    priority: 1,
    description: "Where it is pinned for others.",
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
