import { defineConfig } from "../config/define-config.ts";
import { bpfNames } from "../names.ts";
import { access } from "./access.ts";
import { columns } from "./columns.ts";
import { specSchema, statusSchema } from "./schema.ts";

export const bpfProgramConfig = defineConfig(bpfNames, {
  description: "Loads a program that somebody brings, from an image or a file, and runs it on the selected nodes.",
  columns,
  access,
  specSchema,
  statusSchema,
});
