import { isRecord } from "@bpfleet/base";
import type { KubeObject } from "../../kind.ts";
import { asJsonSchema } from "../../schema/json-schema.ts";
import { specSchema } from "./schema.ts";

const known = new Set(Object.keys(asJsonSchema(specSchema).properties ?? {}));

/**
 * The FelixConfiguration that a values file of a Helm chart means: its settings stand below `felixConfiguration`, or
 * at the top among other values. Undefined when the file has none.
 */
export function felixFromValues(values: unknown): KubeObject | undefined {
  if (!isRecord(values) || values["apiVersion"] !== undefined || values["kind"] !== undefined) return undefined;
  const nested = values["felixConfiguration"];
  const flat = Object.fromEntries(Object.entries(values).filter(([name]) => known.has(name)));
  const spec = { ...flat, ...(isRecord(nested) ? nested : {}) };
  if (Object.keys(spec).length === 0) return undefined;
  return { apiVersion: "crd.projectcalico.org/v1", kind: "FelixConfiguration", metadata: { name: "default" }, spec };
}
