import type { LabelSource, Requirement } from "../policy.ts";
import type { WorldNode, WorldPod, WorldService } from "./world.ts";

/** `isSure`: what is not known of its namespace may be otherwise. */
export function meetsPod({ on, key, operator, values }: Requirement, pod: WorldPod, isSure = false): boolean {
  const value = valueOfPod(on, key, pod);
  if (isSure && value === undefined && on === "namespace-label" && pod.isNamespaceUnknown === true) return false;
  return compare(operator, values, value);
}

export function meetsService({ on, key, operator, values }: Requirement, service: WorldService): boolean {
  const value =
    on === "service"
      ? labelOf(service.labels, key)
      : on === "namespace-name"
        ? service.namespace
        : on === "cluster"
          ? "default"
          : undefined;
  return compare(operator, values, value);
}

function valueOfPod(on: LabelSource, key: string, pod: WorldPod): string | undefined {
  switch (on) {
    case "pod":
      return labelOf(pod.labels, key);
    case "namespace-name":
      return pod.namespace;
    case "namespace-label":
      return labelOf(pod.namespaceLabels, key);
    case "service-account":
      return pod.serviceAccount === "" ? undefined : pod.serviceAccount;
    case "cluster":
      return "default";
    case "node":
    case "service":
    case "reserved":
      return undefined;
  }
}

export function meetsNode({ on, key, operator, values }: Requirement, node: WorldNode): boolean {
  return compare(
    operator,
    values,
    on === "node" ? labelOf(node.labels, key) : on === "cluster" ? "default" : undefined,
  );
}

function labelOf(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

function compare(operator: Requirement["operator"], values: readonly string[], value: string | undefined): boolean {
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}
