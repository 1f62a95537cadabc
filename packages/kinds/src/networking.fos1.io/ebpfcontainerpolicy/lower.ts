import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed } from "../../kind.ts";
import { lowerNothing, notServed } from "../../not-served.ts";
import type { EBPFContainerPolicy } from "./schema.ts";

/** What an EBPFContainerPolicy asks for; each part that nothing serves yet is named. */
export function lowerContainerPolicy(parsed: Parsed<EBPFContainerPolicy>): Lowered {
  const { resourceLimits, networkControls, deviceControl } = parsed.object.spec;
  const problems: PlanProblem[] = [];
  const tell = (path: string, so: string): void => {
    problems.push(notServed(parsed, path, so));
  };
  if (networkControls?.enableIngressControl === true || networkControls?.enableEgressControl === true)
    tell("/spec/networkControls", "nothing is kept from the pods, nor they from anything");
  if (resourceLimits?.bandwidthLimits !== undefined)
    tell("/spec/resourceLimits/bandwidthLimits", "the pods are as fast as they can be");
  if (resourceLimits?.connectionLimits !== undefined)
    tell("/spec/resourceLimits/connectionLimits", "connections are not limited");
  if (deviceControl?.enableDeviceControl === true) tell("/spec/deviceControl", "every device may be used");
  if (resourceLimits?.enableAccounting === true) tell("/spec/resourceLimits/enableAccounting", "nothing is counted");
  if (problems.length === 0) tell("/spec", "nothing is done for the pods");
  return lowerNothing(problems);
}
