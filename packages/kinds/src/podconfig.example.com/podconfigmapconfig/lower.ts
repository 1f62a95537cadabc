import type { PlanProblem } from "@bpfleet/kernel";
import type { Lowered, Parsed } from "../../kind.ts";
import { lowerNothing, notServed } from "../../not-served.ts";
import type { PodConfigMapConfig } from "./schema.ts";

/** What a PodConfigMapConfig asks for; each part that nothing serves yet is named. */
export function lowerPodConfig(parsed: Parsed<PodConfigMapConfig>): Lowered {
  const { ebpfConfig, labelsToInclude = [], annotationsToInclude = [] } = parsed.object.spec;
  const problems: PlanProblem[] = [];
  const tell = (path: string, so: string): void => {
    problems.push(notServed(parsed, path, so));
  };
  if (ebpfConfig?.l4Firewall?.enabled === true) tell("/spec/ebpfConfig/l4Firewall", "every port can be reached");
  if (ebpfConfig?.syscallMonitoring?.enabled === true)
    tell("/spec/ebpfConfig/syscallMonitoring", "no system call is counted");
  if (ebpfConfig?.metricsExport?.enabled === true)
    tell("/spec/ebpfConfig/metricsExport", "no metrics of it are exported");
  if (labelsToInclude.length > 0) tell("/spec/labelsToInclude", "no ConfigMap is made of pods");
  if (annotationsToInclude.length > 0) tell("/spec/annotationsToInclude", "no ConfigMap is made of pods");
  return lowerNothing(problems);
}
