import { defineConfig } from "../config/define-config.ts";
import { ebpfNames } from "../names.ts";
import { access } from "./access.ts";
import { columns } from "./columns.ts";
import { specSchema, statusSchema } from "./schema.ts";

export const ebpfProgramConfig = defineConfig(ebpfNames, {
  description: "BpfProgramConfig by its older name; it means the same.",
  columns,
  access,
  specSchema,
  statusSchema,
});
