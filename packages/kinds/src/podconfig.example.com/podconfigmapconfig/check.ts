import { checkPolicyAnnotations } from "../../policy/check-annotations.ts";
import type { IssueList } from "../../schema/admit.ts";
import type { PodConfigMapConfig, PodConfigSpec } from "./schema.ts";

type Firewall = NonNullable<NonNullable<PodConfigSpec["ebpfConfig"]>["l4Firewall"]>;

/** What has no effect, and what closes more than is probably meant. */
export function checkPodConfig({ metadata, spec }: PodConfigMapConfig, found: IssueList): void {
  checkPolicyAnnotations(metadata, found);
  const { ebpfConfig, labelsToInclude, annotationsToInclude } = spec;
  if (!found.isSound("/spec/ebpfConfig")) return;
  if (ebpfConfig === undefined && labelsToInclude === undefined && annotationsToInclude === undefined)
    found.warning("/spec", "no-effect", "says neither ebpfConfig nor what to include, so nothing is done");
  const { l4Firewall, syscallMonitoring, metricsExport } = ebpfConfig ?? {};
  if (l4Firewall?.enabled === true) checkFirewall(l4Firewall, spec, found);
  if (syscallMonitoring?.enabled === true && syscallMonitoring.syscallNames?.length === 0)
    found.warning(
      "/spec/ebpfConfig/syscallMonitoring/syscallNames",
      "empty-list",
      "is empty, which means all; leave it out to say so",
    );
  if (syscallMonitoring?.enabled === true && metricsExport?.enabled !== true)
    found.warning(
      "/spec/ebpfConfig/syscallMonitoring",
      "not-exported",
      "is counted for nobody: spec.ebpfConfig.metricsExport.enabled is not true",
    );
}

function checkFirewall(firewall: Firewall, spec: PodConfigSpec, found: IssueList): void {
  const { allowedPorts = [], blockedPorts = [], defaultAction } = firewall;
  const path = "/spec/ebpfConfig/l4Firewall";
  const blocked = new Set(blockedPorts);
  for (const [index, port] of allowedPorts.entries())
    if (blocked.has(port))
      found.warning(`${path}/allowedPorts/${index}`, "overlap", `${port} is in blockedPorts too: it is blocked`);
  if (defaultAction === "allow" && allowedPorts.length > 0)
    found.warning(
      `${path}/allowedPorts`,
      "no-effect",
      "closes nothing: defaultAction allow lets every port pass that is not in blockedPorts",
    );
  if (defaultAction === "block" && blockedPorts.length > 0 && allowedPorts.every((port) => !blocked.has(port)))
    found.warning(
      `${path}/blockedPorts`,
      "no-effect",
      "changes nothing: defaultAction block blocks every port that is not in allowedPorts",
    );
  if (defaultAction === "block" && allowedPorts.length === 0)
    found.warning(`${path}/allowedPorts`, "everything", "is empty: no port of the pods can be reached");
  if (defaultAction === "block" && isEmpty(spec.podSelector))
    found.warning(
      "/spec/podSelector",
      "everything",
      "selects every pod of the namespace: all are closed but for allowedPorts",
    );
}

function isEmpty(selector: PodConfigSpec["podSelector"]): boolean {
  return Object.keys(selector?.matchLabels ?? {}).length === 0 && (selector?.matchExpressions ?? []).length === 0;
}
