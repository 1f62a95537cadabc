import { defineKind } from "../../define-kind.ts";
import { serviceAccess } from "./access.ts";
import { serviceColumns } from "./columns.ts";
import { lowerService } from "./lower.ts";
import { anySchema } from "./schema.ts";
import type { Service } from "./schema.ts";

/** A Service, as far as what pods send to it is judged. */
export const service = defineKind<Service>({
  group: "",
  version: "v1",
  kind: "Service",
  plural: "services",
  singular: "service",
  shortNames: ["svc"],
  scope: "Namespaced",
  description: "By which addresses a Service is known, so that what pods send to it is judged by its back ends.",
  columns: serviceColumns,
  access: serviceAccess,
  conditions: {},
  specSchema: anySchema,
  statusSchema: anySchema,
  isOurs: false,
  lower: lowerService,
  status: (parsed) => parsed.object.status ?? {},
});
