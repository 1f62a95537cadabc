import { defineKind } from "../../define-kind.ts";
import { lowerNothing, notServed } from "../../not-served.ts";
import { trafficControlAccess } from "./access.ts";
import { checkTrafficControl } from "./check.ts";
import { trafficControlColumns } from "./columns.ts";
import { specSchema, statusSchema } from "./schema.ts";
import type { EBPFTrafficControl } from "./schema.ts";
import { trafficControlConditions, trafficControlStatus } from "./status.ts";

export const ebpfTrafficControl = defineKind<EBPFTrafficControl>({
  group: "networking.fos1.io",
  version: "v1alpha1",
  kind: "EBPFTrafficControl",
  plural: "ebpftrafficcontrols",
  singular: "ebpftrafficcontrol",
  shortNames: ["etcl"],
  scope: "Namespaced",
  description:
    "Quality of service on a network interface: which packets wait for which, how fast they go, what is marked.",
  columns: trafficControlColumns,
  access: trafficControlAccess,
  conditions: trafficControlConditions,
  specSchema,
  statusSchema,
  isOurs: true,
  check: checkTrafficControl,
  lower: (parsed) => lowerNothing([notServed(parsed, "/spec", "packets are neither shaped nor marked by it")]),
  status: trafficControlStatus,
});
