import { notSelectedReason, type PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed, ResourceView } from "../../kind.ts";
import { lowerNothing, notServed } from "../../not-served.ts";
import type { FelixConfiguration } from "./schema.ts";

/** What a FelixConfiguration asks of this node: the one named default, and that of the node alone. */
export function lowerFelix(parsed: Parsed<FelixConfiguration>, view: ResourceView): Lowered {
  const { name } = parsed.ref;
  const { spec } = parsed.object;
  if (name !== "default" && name !== `node.${view.node.name}`) {
    const origin = { object: parsed.ref, path: "/metadata/name", position: parsed.positionOf("/metadata/name") };
    const message = `node ${view.node.name} is not meant: it reads default and node.${view.node.name}`;
    return lowerNothing([{ origin, reason: notSelectedReason, message, severity: "note" }]);
  }
  const problems: PlanProblem[] = [];
  if (spec.bpfEnabled === true)
    problems.push(
      notServed(parsed, "/spec/bpfEnabled", "Services stay with kube-proxy, and no other setting has an effect"),
    );
  else if (spec.xdpEnabled === true)
    problems.push(notServed(parsed, "/spec/xdpEnabled", "nothing is dropped by it before the network stack"));
  return lowerNothing(problems);
}
