import { bpfNames } from "../names.ts";
import { defineProgram } from "../program/define-program.ts";
import { access } from "./access.ts";
import { columns } from "./columns.ts";
import { specSchema, statusSchema } from "./schema.ts";

export const bpfProgram = defineProgram(bpfNames, "bpfprograms", {
  description: "Tells what a BpfProgramConfig became on one node. Made by bpfleet, for reading only.",
  columns,
  access,
  specSchema,
  statusSchema,
});
