import type { Column } from "../kind.ts";

export const ageColumn: Column = {
  name: "Age",
  jsonPath: ".metadata.creationTimestamp",
  type: "date",
  priority: 0,
  description: "Time since the object was created.",
};

const ready = '.status.conditions[?(@.type=="Ready")]';

/** For kinds whose document gives them conditions and no state. */
export const readyColumns: readonly Column[] = [
  { name: "Ready", jsonPath: `${ready}.status`, type: "string", priority: 0, description: "Whether it is in force." },
  { name: "Reason", jsonPath: `${ready}.reason`, type: "string", priority: 0, description: "Why it is, or is not." },
];

/** For kinds whose status counts the nodes of a cluster. */
export const nodesColumns: readonly Column[] = [
  {
    name: "Ready-Nodes",
    jsonPath: ".status.nodes.ready",
    type: "integer",
    priority: 1,
    description: "Nodes of a cluster on which it is in force.",
  },
  {
    name: "Nodes",
    jsonPath: ".status.nodes.total",
    type: "integer",
    priority: 1,
    description: "Nodes of a cluster that it means.",
  },
];
