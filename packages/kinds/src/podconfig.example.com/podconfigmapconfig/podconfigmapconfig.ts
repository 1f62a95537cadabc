import { defineKind } from "../../define-kind.ts";
import { podConfigAccess } from "./access.ts";
import { checkPodConfig } from "./check.ts";
import { closePodConfig } from "./close.ts";
import { podConfigColumns } from "./columns.ts";
import { lowerPodConfig } from "./lower.ts";
import { specSchema, statusSchema } from "./schema.ts";
import type { PodConfigMapConfig } from "./schema.ts";
import { podConfigConditions, podConfigStatus } from "./status.ts";

export const podConfigMapConfig = defineKind<PodConfigMapConfig>({
  group: "podconfig.example.com",
  version: "v1alpha1",
  kind: "PodConfigMapConfig",
  plural: "podconfigmapconfigs",
  singular: "podconfigmapconfig",
  shortNames: ["pcmc"],
  scope: "Namespaced",
  description: "Counts system calls of pods, filters their ports, and exports both as metrics.",
  columns: podConfigColumns,
  access: podConfigAccess,
  conditions: podConfigConditions,
  specSchema,
  statusSchema,
  isOurs: true,
  unknownField: (path) => (/^\/spec\/(?:podSelector|ebpfConfig\/l4Firewall)\//.test(path) ? "refused" : "left-out"),
  check: checkPodConfig,
  lower: lowerPodConfig,
  closeRefused: closePodConfig,
  status: podConfigStatus,
});
