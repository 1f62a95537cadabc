import { checkPolicyAnnotations } from "../../policy/check-annotations.ts";
import type { IssueList } from "../../schema/admit.ts";
import { recordItems } from "../../schema/sound-items.ts";
import { checkIpBlock } from "../parts/ip-block.ts";
import { warnOfLogging } from "../parts/rule-log.ts";
import { warnOfUnreached } from "../parts/rule-order.ts";
import type { ContainerPolicySpec, ContainerRule, EBPFContainerPolicy } from "./schema.ts";

type Controls = NonNullable<ContainerPolicySpec["networkControls"]>;

/** What spans fields too deep for the API server, and what is probably not meant. */
export function checkContainerPolicy({ metadata, spec }: EBPFContainerPolicy, found: IssueList): void {
  checkPolicyAnnotations(metadata, found);
  const { networkControls: controls, deviceControl: devices, resourceLimits: limits, selector } = spec;
  for (const field of ["ingressRules", "egressRules"] as const)
    for (const [{ ipBlock }, at] of recordItems(controls?.[field], `/spec/networkControls/${field}`))
      checkIpBlock(ipBlock, `${at}/ipBlock`, found);
  if (controls !== undefined && found.isSound("/spec/networkControls"))
    for (const direction of ["Ingress", "Egress"] as const) checkDirection(controls, direction, found);
  if (limits !== undefined && found.isSound("/spec/resourceLimits")) checkLimits(limits, found);
  if (devices !== undefined && found.isSound("/spec/deviceControl")) checkDevices(devices, found);
  if (found.isSound("/spec/selector") && isEmpty(selector.podSelector) && deniesByDefault(controls))
    found.warning(
      "/spec/selector/podSelector",
      "everything",
      "is empty: every pod of the namespace is cut off but for what rules allow",
    );
}

/** Ethernet's, with its header. */
const packetBytes = 1514;
/** What a few clients that retry hold open by themselves. */
const fewConnections = 5;

function checkLimits(
  { bandwidthLimits, connectionLimits }: NonNullable<ContainerPolicySpec["resourceLimits"]>,
  found: IssueList,
): void {
  const path = "/spec/resourceLimits";
  const { ingressBitsPerSecond, egressBitsPerSecond, burstBytes } = bandwidthLimits ?? {};
  if (bandwidthLimits !== undefined && ingressBitsPerSecond === undefined && egressBitsPerSecond === undefined)
    found.warning(`${path}/bandwidthLimits`, "no-effect", "limits nothing: it names no rate");
  if (burstBytes !== undefined && burstBytes < packetBytes)
    found.warning(
      `${path}/bandwidthLimits/burstBytes`,
      "too-small",
      `is less than a packet of ${packetBytes} bytes: one passes at a time, and what comes meanwhile is dropped`,
    );
  const { maxConnections } = connectionLimits ?? {};
  if (maxConnections !== undefined && maxConnections < fewConnections)
    found.warning(
      `${path}/connectionLimits/maxConnections`,
      "too-small",
      `is few: ${maxConnections} clients, or as many that the pods begin themselves, keep everybody else out`,
    );
}

function isEmpty(selector: ContainerPolicySpec["selector"]["podSelector"]): boolean {
  return (
    selector !== undefined &&
    Object.keys(selector.matchLabels ?? {}).length === 0 &&
    (selector.matchExpressions ?? []).length === 0
  );
}

function deniesByDefault(controls: Controls | undefined): boolean {
  return (
    (controls?.enableEgressControl === true && controls.defaultEgressAction === "deny") ||
    (controls?.enableIngressControl === true && controls.defaultIngressAction === "deny")
  );
}

function checkDirection(controls: Controls, direction: "Ingress" | "Egress", found: IssueList): void {
  const isOn = controls[`enable${direction}Control`];
  const action = controls[`default${direction}Action`];
  const field = direction === "Ingress" ? "ingressRules" : "egressRules";
  const rules = controls[field] ?? [];
  const path = `/spec/networkControls/${field}`;
  for (const [index, { ipBlock, ports, action }] of rules.entries()) {
    if (action === "log" && ipBlock === undefined && ports === undefined) warnOfLogging(`${path}/${index}`, found);
  }
  warnOfUnreached(rules, path, found, (rule: ContainerRule) => rule.ipBlock === undefined && rule.ports === undefined);
  const needed = `spec.networkControls.enable${direction}Control`;
  if (!isOn && rules.length > 0) found.warning(path, "no-effect", `has no effect without ${needed}`);
  if (!isOn && action === "deny")
    found.warning(`/spec/networkControls/default${direction}Action`, "no-effect", `has no effect without ${needed}`);
  if (isOn && action === "allow" && !rules.some((rule) => rule.action !== "allow"))
    found.warning(
      `/spec/networkControls/enable${direction}Control`,
      "no-effect",
      "decides nothing: no rule denies, and what no rule names is allowed",
    );
  if (direction === "Egress" && isOn && action === "deny" && !rules.some(allowsNames))
    found.warning(
      "/spec/networkControls/defaultEgressAction",
      "no-dns",
      "is deny and no rule allows port 53: the pods cannot look up names",
    );
}

function allowsNames({ action, ports }: ContainerRule): boolean {
  if (action === "deny") return false;
  return (
    ports === undefined ||
    ports.some(({ port, endPort = port }) => port === undefined || (port <= 53 && (endPort ?? 0) >= 53))
  );
}

function checkDevices(devices: NonNullable<ContainerPolicySpec["deviceControl"]>, found: IssueList): void {
  const { enableDeviceControl, defaultDeviceAction, allowedDevices = [] } = devices;
  const path = "/spec/deviceControl";
  if (!enableDeviceControl && allowedDevices.length > 0)
    found.warning(
      `${path}/allowedDevices`,
      "no-effect",
      "has no effect without spec.deviceControl.enableDeviceControl",
    );
  if (enableDeviceControl && defaultDeviceAction === "allow")
    found.warning(`${path}/defaultDeviceAction`, "no-effect", "is allow, so every device may be used");
  if (enableDeviceControl && defaultDeviceAction === "deny" && allowedDevices.length === 0)
    found.warning(
      `${path}/allowedDevices`,
      "everything",
      "is empty: the pods may not even use /dev/null and /dev/urandom",
    );
}
