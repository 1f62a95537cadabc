import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const programColumns: readonly Column[] = [
  {
    name: "Config",
    jsonPath: ".metadata.labels.owningConfig",
    type: "string",
    priority: 0,
    description: "The config of which it was made.",
  },
  {
    name: "Status",
    jsonPath: ".status.conditions[-1:].type",
    type: "string",
    priority: 0,
    description: "The last condition: the current one.",
  },
  {
    name: "Interface",
    jsonPath: ".spec.programs..interface",
    type: "string",
    priority: 0,
    description: "The network interface, where one is named.",
  },
  { ...ageColumn, priority: 0 },
  { name: "Node", jsonPath: ".spec.node", type: "string", priority: 1, description: "The node, where it is told." },
  {
    name: "Cause",
    jsonPath: '.status.conditions[?(@.type=="Cause")].message',
    type: "string",
    priority: 1,
    description: "Why it is not as asked.",
  },
];
