import { Type } from "./schema/type.ts";
import type { Kind, ObjectMeta } from "./kind.ts";
import { admit } from "./schema/admit.ts";
import type { IssueList } from "./schema/admit.ts";

const dnsLabel = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const dnsSubdomain = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

const metadataSchema = Type.Object(
  {
    name: Type.String({
      minLength: 1,
      maxLength: 253,
      pattern: dnsSubdomain,
      patternMeaning: "lower-case letters, digits, - and ., and begin and end with a letter or digit",
    }),
    namespace: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 63,
        pattern: dnsLabel,
        patternMeaning: "lower-case letters, digits and -, and begin and end with a letter or digit",
      }),
    ),
    labels: Type.Optional(Type.Record(Type.String(), Type.String())),
    annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
    uid: Type.Optional(Type.String()),
    generation: Type.Optional(Type.Integer()),
    resourceVersion: Type.Optional(Type.String()),
    creationTimestamp: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    deletionTimestamp: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  },
  { "x-kubernetes-preserve-unknown-fields": true },
);

/** Checks what every object carries; a namespaced object without a namespace is in `default`. */
export function admitMetadata(metadata: unknown, scope: Kind["scope"], found: IssueList): ObjectMeta {
  if (metadata === undefined || metadata === null) {
    found.error("/metadata/name", "required", "is required");
    return { name: "" };
  }
  const admitted = admit(metadataSchema, metadata, "/metadata", found) as ObjectMeta;
  if (scope === "Namespaced") return { ...admitted, namespace: admitted.namespace ?? "default" };
  if (admitted.namespace !== undefined)
    found.error("/metadata/namespace", "forbidden", "must be left out: the kind belongs to no namespace");
  return admitted;
}
