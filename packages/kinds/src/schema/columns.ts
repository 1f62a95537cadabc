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
