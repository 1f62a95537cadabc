import { defineKind } from "../../define-kind.ts";
import { mapAccess } from "./access.ts";
import { checkMap } from "./check.ts";
import { mapColumns } from "./columns.ts";
import { lowerMap } from "./lower.ts";
import { specSchema, statusSchema } from "./schema.ts";
import type { EBPFMap } from "./schema.ts";
import { mapConditions, mapStatus } from "./status.ts";

export const ebpfMap = defineKind<EBPFMap>({
  group: "networking.fos1.io",
  version: "v1alpha1",
  kind: "EBPFMap",
  plural: "ebpfmaps",
  singular: "ebpfmap",
  shortNames: ["emap"],
  scope: "Namespaced",
  description: "A data structure that programs in the kernel and programs in user space share.",
  columns: mapColumns,
  access: mapAccess,
  conditions: mapConditions,
  specSchema,
  statusSchema,
  isOurs: true,
  check: checkMap,
  lower: lowerMap,
  largest: ["/entryCount"],
  status: mapStatus,
});
