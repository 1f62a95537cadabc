import { isRecord } from "@bpfleet/base";
import { defineKind } from "../../define-kind.ts";
import type { IssueList } from "../../schema/admit.ts";
import { describe } from "../../schema/admit.ts";
import { secretAccess } from "./access.ts";
import { isBase64 } from "./base64.ts";
import { secretColumns } from "./columns.ts";
import { anySchema } from "./schema.ts";
import type { Secret } from "./schema.ts";

/** What opens registries. */
export const secret = defineKind<Secret>({
  group: "",
  version: "v1",
  kind: "Secret",
  plural: "secrets",
  singular: "secret",
  shortNames: [],
  scope: "Namespaced",
  description: "Holds the credentials of registries that images of programs are pulled with.",
  columns: secretColumns,
  access: secretAccess,
  conditions: {},
  specSchema: anySchema,
  statusSchema: anySchema,
  isOurs: false,
  fields: ["type", "data", "stringData", "immutable"],
  check: checkSecret,
  lower: () => ({ intents: [], problems: [] }),
  status: (parsed) => parsed.object.status ?? {},
});

/** No message quotes a value. */
function checkSecret(object: Secret, found: IssueList): void {
  if (object.type !== undefined && typeof object.type !== "string")
    found.error("/type", "type", `must be text, is ${describe(object.type)}`);
  for (const name of ["data", "stringData"] as const) {
    const entries: unknown = object[name] ?? {};
    if (!isRecord(entries)) found.error(`/${name}`, "type", `must be a mapping of fields, is ${describe(entries)}`);
    else
      for (const [key, value] of Object.entries(entries)) {
        const path = `/${name}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
        if (typeof value !== "string") found.error(path, "type", "must be text");
        else if (name === "data" && !isBase64(value))
          found.error(path, "invalid", "must be base64; put plain text under stringData");
      }
  }
}
