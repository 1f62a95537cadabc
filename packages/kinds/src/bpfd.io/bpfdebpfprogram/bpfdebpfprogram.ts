import { ebpfNames } from "../names.ts";
import { defineProgram } from "../program/define-program.ts";
import { access } from "./access.ts";
import { columns } from "./columns.ts";
import { specSchema, statusSchema } from "./schema.ts";

/** A plural of its own: `ebpfprograms` are those of networking.fos1.io. */
export const bpfdEbpfProgram = defineProgram(ebpfNames, "bpfdebpfprograms", {
  description: "Tells what an EbpfProgramConfig became on one node. Made by bpfleet, for reading only.",
  columns,
  access,
  specSchema,
  statusSchema,
});
