import { defineKind } from "../../define-kind.ts";
import { endpointSliceAccess } from "./access.ts";
import { endpointSliceColumns } from "./columns.ts";
import { lowerEndpointSlice } from "./lower.ts";
import type { EndpointSlice } from "./schema.ts";

/** Back ends of a Service. */
export const endpointSlice = defineKind<EndpointSlice>({
  group: "discovery.k8s.io",
  version: "v1",
  kind: "EndpointSlice",
  plural: "endpointslices",
  singular: "endpointslice",
  shortNames: [],
  scope: "Namespaced",
  description: "The back ends of a Service, by which what pods send to it is judged.",
  columns: endpointSliceColumns,
  access: endpointSliceAccess,
  conditions: {},
  isOurs: false,
  fields: ["addressType", "endpoints", "ports"],
  lower: lowerEndpointSlice,
  status: (parsed) => parsed.object.status ?? {},
});
