import type { Column } from "../kind.ts";

export const ageColumn: Column = {
  name: "Age",
  jsonPath: ".metadata.creationTimestamp",
  type: "date",
  priority: 0,
  description: "Time since the object was created.",
};
