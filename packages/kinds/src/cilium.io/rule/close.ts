import { isRecord } from "@bpfleet/base";
import type { Closing, RefusedObject } from "../../kind.ts";
import {
  closeRefused,
  everythingDenied,
  fieldsOf,
  hasItems,
  isAbsent,
  readSelector,
  type ClosedPart,
  type Closure,
} from "../../policy/close-refused.ts";
import { parseSelectorKey } from "../../policy/requirements.ts";
import { ruleSchema } from "./rule-schema.ts";

type Fields = Readonly<Record<string, unknown>>;

/**
 * The pods that each rule selects are isolated as they would be, nothing is allowed, and where the rule denies anything
 * everything is denied. A rule for nodes closes nothing: whoever loses a node by a misspelt field cannot mend it.
 */
export function closeCiliumPolicy(refused: RefusedObject): Closing {
  const { spec, specs } = fieldsOf(refused.object) ?? {};
  const isOfCluster = refused.ref.namespace === "";
  const one = isAbsent(spec) && !isAbsent(specs) ? [] : [partOf(spec, "/spec", isOfCluster)];
  const several = isAbsent(specs)
    ? []
    : Array.isArray(specs)
      ? specs.map((each, index) => partOf(each, `/specs/${index}`, isOfCluster))
      : [partOf(specs, "/specs", isOfCluster)];
  return closeRefused(refused, { tier: "policy" }, [...one, ...several]);
}

function partOf(rule: unknown, path: string, isOfCluster: boolean): ClosedPart {
  if (!isRecord(rule)) return { path, where: isOfCluster ? undefined : [], ...everythingDenied };
  const closures = { ingress: closureOf(rule, "ingress"), egress: closureOf(rule, "egress") };
  return { path, where: whereOf(rule, isOfCluster), ...closures };
}

function whereOf({ endpointSelector, nodeSelector }: Fields, isOfCluster: boolean): ClosedPart["where"] {
  if (isAbsent(endpointSelector) && (isOfCluster || !isAbsent(nodeSelector))) return undefined;
  const { where, isWhole } = readSelector(endpointSelector, parseSelectorKey);
  if (!isOfCluster) return where.filter(({ on }) => on !== "namespace-name");
  return isWhole || where.length > 0 ? where : undefined;
}

/** An empty list says nothing to Cilium, and to whoever wrote it that nothing is to pass. */
function closureOf(rule: Fields, direction: "ingress" | "egress"): Closure {
  if (Object.keys(rule).some((field) => !Object.hasOwn(ruleSchema.properties, field))) return "denied";
  if (hasItems(rule[`${direction}Deny`])) return "denied";
  if (isAbsent(rule[direction]) && isAbsent(rule[`${direction}Deny`])) return "open";
  return fieldsOf(rule, "enableDefaultDeny")?.[direction] === false ? "open" : "isolated";
}
