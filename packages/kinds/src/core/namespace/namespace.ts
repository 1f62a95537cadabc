import { defineKind } from "../../define-kind.ts";
import { namespaceAccess } from "./access.ts";
import { namespaceColumns } from "./columns.ts";
import { anySchema } from "./schema.ts";
import type { Namespace } from "./schema.ts";

/** A namespace as far as selectors look at it: its labels. */
export const namespace = defineKind<Namespace>({
  group: "",
  version: "v1",
  kind: "Namespace",
  plural: "namespaces",
  singular: "namespace",
  shortNames: ["ns"],
  scope: "Cluster",
  description: "Gives a namespace labels that the selectors of policies look at.",
  columns: namespaceColumns,
  access: namespaceAccess,
  conditions: {},
  specSchema: anySchema,
  statusSchema: anySchema,
  isOurs: false,
  lower: () => ({ intents: [], problems: [] }),
  status: (parsed) => parsed.object.status ?? {},
});
