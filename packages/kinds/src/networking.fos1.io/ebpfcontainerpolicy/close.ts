import type { Closing, RefusedObject } from "../../kind.ts";
import {
  closeRefused,
  everythingDenied,
  fieldsOf,
  isAbsent,
  mayDeny,
  priorityOf,
  readSelector,
  type ClosedPart,
  type Closure,
} from "../../policy/close-refused.ts";
import { labelsOf } from "../../policy/requirements.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Where it may deny anything, everything is denied. */
export function closeContainerPolicy(refused: RefusedObject): Closing {
  const spec = fieldsOf(refused.object, "spec");
  return closeRefused(refused, { tier: "container", priority: priorityOf(spec, 1000) }, [partOf(spec)]);
}

function partOf(spec: Fields | undefined): ClosedPart {
  const path = "/spec/networkControls";
  if (spec === undefined) return { path, where: [], ...everythingDenied };
  const { podSelector, namespaceSelector } = fieldsOf(spec, "selector") ?? {};
  const where = [
    ...readSelector(podSelector, labelsOf("pod")).where,
    ...readSelector(namespaceSelector, labelsOf("namespace-label")).where,
  ];
  if (isAbsent(spec["networkControls"])) return { path, where, ingress: "open", egress: "open" };
  const controls = fieldsOf(spec, "networkControls");
  if (controls === undefined) return { path, where, ...everythingDenied };
  return { path, where, ingress: closureOf(controls, "Ingress"), egress: closureOf(controls, "Egress") };
}

function closureOf(controls: Fields, direction: "Ingress" | "Egress"): Closure {
  const isOn = controls[`enable${direction}Control`];
  if (isAbsent(isOn) || isOn === false) return "open";
  const action = controls[`default${direction}Action`];
  const denies = !isAbsent(action) && action !== "allow";
  return denies || mayDeny(controls[`${direction.toLowerCase()}Rules`]) ? "denied" : "open";
}
