import type { Closing, RefusedObject } from "../../kind.ts";
import {
  closeRefused,
  everythingDenied,
  fieldsOf,
  hasItems,
  isAbsent,
  readSelector,
  type ClosedPart,
} from "../../policy/close-refused.ts";
import { labelsOf } from "../../policy/requirements.ts";
import { specSchema } from "./schema.ts";

/** Its pods are isolated as they would be, and nothing is allowed by it. */
export function closeNetworkPolicy(refused: RefusedObject): Closing {
  return closeRefused(refused, { tier: "policy" }, [partOf(fieldsOf(refused.object, "spec"))]);
}

function partOf(spec: Readonly<Record<string, unknown>> | undefined): ClosedPart {
  if (spec === undefined) return { path: "/spec", where: [], ...everythingDenied };
  const { where } = readSelector(spec["podSelector"], labelsOf("pod"));
  const types = typesOf(spec);
  const closure = (type: string): ClosedPart["ingress"] => (types.includes(type) ? "isolated" : "open");
  return { path: "/spec", where, ingress: closure("Ingress"), egress: closure("Egress") };
}

const known = ["Ingress", "Egress"];

/** A field that nobody knows may be one of these, misspelt. */
function typesOf(spec: Readonly<Record<string, unknown>>): readonly string[] {
  const { policyTypes: types } = spec;
  const isSound = Array.isArray(types) ? types.every((type) => known.includes(type)) : isAbsent(types);
  if (!isSound || Object.keys(spec).some((field) => !Object.hasOwn(specSchema.properties, field))) return known;
  if (Array.isArray(types) && types.length > 0) return types as readonly string[];
  return hasItems(spec["egress"]) ? known : ["Ingress"];
}
