import { defineKind } from "../../define-kind.ts";
import { programAccess } from "./access.ts";
import { checkProgram } from "./check.ts";
import { programColumns } from "./columns.ts";
import { lowerProgram } from "./lower.ts";
import { specSchema, statusSchema } from "./schema.ts";
import type { EBPFProgram } from "./schema.ts";
import { programConditions, programStatus } from "./status.ts";

export const ebpfProgram = defineKind<EBPFProgram>({
  group: "networking.fos1.io",
  version: "v1alpha1",
  kind: "EBPFProgram",
  plural: "ebpfprograms",
  singular: "ebpfprogram",
  shortNames: ["ebpf"],
  scope: "Namespaced",
  description:
    "A program in the kernel that filters, limits, marks or counts: on a network interface, or on the pods of its namespace.",
  columns: programColumns,
  access: programAccess,
  conditions: programConditions,
  specSchema,
  statusSchema,
  isOurs: true,
  check: checkProgram,
  lower: lowerProgram,
  status: programStatus,
});
