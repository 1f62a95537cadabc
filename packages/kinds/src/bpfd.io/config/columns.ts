import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const configColumns: readonly Column[] = [
  { name: "Type", jsonPath: ".spec.type", type: "string", priority: 0, description: "What kind of program it is." },
  { name: "SecName", jsonPath: ".spec.name", type: "string", priority: 0, description: "Section of the program." },
  {
    name: "Status",
    jsonPath: ".status.conditions[-1:].type",
    type: "string",
    priority: 0,
    description: "The last condition: the current one.",
  },
  {
    name: "Interface",
    jsonPath: ".spec.attachpoint..interface",
    type: "string",
    priority: 0,
    description: "The network interface, where one is named.",
  },
  {
    name: "Priority",
    jsonPath: ".spec..priority",
    type: "integer",
    priority: 0,
    description: "Order on the interface; lower runs first.",
  },
  {
    name: "Direction",
    jsonPath: ".spec.attachpoint.networkmultiattach.direction",
    type: "string",
    priority: 0,
    description: "Which packets, for type TC.",
  },
  {
    name: "Tracepoint",
    jsonPath: ".spec.attachpoint.singleattach.name",
    type: "string",
    priority: 0,
    description: "The tracepoint or function.",
  },
  { ...ageColumn, priority: 1 },
  {
    name: "Cause",
    jsonPath: '.status.conditions[?(@.type=="Cause")].message',
    type: "string",
    priority: 1,
    description: "Why it is not as asked.",
  },
];
