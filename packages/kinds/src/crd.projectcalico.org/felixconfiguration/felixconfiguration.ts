import { defineKind } from "../../define-kind.ts";
import { plainStatus } from "../../status/plain-status.ts";
import { felixAccess } from "./access.ts";
import { checkFelix } from "./check.ts";
import { felixColumns } from "./columns.ts";
import { lowerFelix } from "./lower.ts";
import { specSchema, statusSchema } from "./schema.ts";
import type { FelixConfiguration } from "./schema.ts";

export const felixConditions = {
  Ready: "What the settings ask for is in force; else what keeps it from that.",
  Accepted: "Everything that is asked for is served. The message also says what one should know.",
  Applied: "The settings are in force.",
};

export const felixConfiguration = defineKind<FelixConfiguration>({
  group: "crd.projectcalico.org",
  version: "v1",
  kind: "FelixConfiguration",
  plural: "felixconfigurations",
  singular: "felixconfiguration",
  shortNames: [],
  scope: "Cluster",
  description: "Settings of Calico's agent, of which bpfleet reads those about eBPF.",
  crdOwner: "Calico",
  columns: felixColumns,
  access: felixAccess,
  conditions: felixConditions,
  specSchema,
  statusSchema,
  isOurs: true,
  check: checkFelix,
  lower: lowerFelix,
  status: (parsed, outcome) => plainStatus(parsed, outcome, "Applied", {}),
});
