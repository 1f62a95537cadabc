import { defineKind } from "../../define-kind.ts";
import type { IssueList } from "../../schema/admit.ts";
import { sliceAccess } from "./access.ts";
import { sliceColumns } from "./columns.ts";
import { lowerSlice } from "./lower.ts";
import { specSchema } from "./schema.ts";
import type { AddressSlice } from "./schema.ts";

export const addressSlice = defineKind<AddressSlice>({
  group: "bpfleet.io",
  version: "v1alpha1",
  kind: "AddressSlice",
  plural: "addressslices",
  singular: "addressslice",
  shortNames: ["asl"],
  scope: "Cluster",
  description: "Says of many addresses whose they are, so that no node has to watch all pods. Made by the operator.",
  columns: sliceColumns,
  access: sliceAccess,
  conditions: {},
  specSchema,
  isOurs: true,
  check: checkSlice,
  lower: lowerSlice,
  status: () => ({}),
});

function checkSlice({ spec }: AddressSlice, found: IssueList): void {
  if (!found.isSound("/spec/addresses")) return;
  const seen = new Map<string, number>();
  for (const [index, { ip }] of spec.addresses.entries()) {
    const earlier = seen.get(ip);
    if (earlier === undefined) seen.set(ip, index);
    else found.error(`/spec/addresses/${index}/ip`, "duplicate", `is already in spec.addresses[${earlier}]; keep one`);
  }
}
