import type { LabelSelector } from "../labels/label-selector.ts";
import type { LabelSource, PolicySubject, Requirement } from "@bpfleet/features";

/** What a selector is held against. */
export interface LabelFacts {
  readonly labels: Readonly<Record<string, string>>;
  /** Of pods and services. */
  readonly namespace?: string | undefined;
  readonly namespaceLabels?: Readonly<Record<string, string>> | undefined;
  readonly serviceAccount?: string | undefined;
}

/** There is one cluster, and Cilium calls it so. */
const clusterName = "default";

export const namespaceKey = "io.kubernetes.pod.namespace";
const namespaceLabelPrefix = "io.cilium.k8s.namespace.labels.";
const singleKeys: Readonly<Record<string, LabelSource>> = {
  [namespaceKey]: "namespace-name",
  "io.cilium.k8s.policy.serviceaccount": "service-account",
  "io.cilium.k8s.policy.cluster": "cluster",
};

/** Where a key of a Cilium selector looks: `k8s:app` and `any:app` are `app` of the pod. */
export function parseSelectorKey(key: string): Pick<Requirement, "on" | "key"> {
  const [, source = "any", plain = key] = /^([a-z0-9-]+):(.*)$/s.exec(key) ?? [];
  if (source !== "any" && source !== "k8s") return { on: "reserved", key: source === "reserved" ? plain : key };
  const single = singleKeys[plain];
  if (single !== undefined) return { on: single, key: "" };
  if (plain.startsWith(namespaceLabelPrefix))
    return { on: "namespace-label", key: plain.slice(namespaceLabelPrefix.length) };
  return { on: "pod", key: plain };
}

/** The requirements of a selector, by where each key looks. */
export function toRequirements(
  { matchLabels = {}, matchExpressions = [] }: LabelSelector,
  place: (key: string) => Pick<Requirement, "on" | "key">,
): readonly Requirement[] {
  return [
    ...Object.entries(matchLabels).map(([key, value]) => ({ ...place(key), operator: "In" as const, values: [value] })),
    ...matchExpressions.map(({ key, operator, values = [] }) => ({ ...place(key), operator, values })),
  ];
}

/** All labels of one thing: `toRequirements(selector, labelsOf("node"))`. */
export function labelsOf(on: LabelSource): (key: string) => Pick<Requirement, "on" | "key"> {
  return (key) => ({ on, key });
}

export function inNamespace(namespace: string): Requirement {
  return { on: "namespace-name", key: "", operator: "In", values: [namespace] };
}

export function meetsAll(requirements: readonly Requirement[], facts: LabelFacts): boolean {
  return requirements.every((requirement) => meets(requirement, facts));
}

/** Whatever meets `part` meets `whole` too, as far as can be told from what both ask for. */
export function asksNoMore(whole: readonly Requirement[], part: readonly Requirement[]): boolean {
  const asked = new Set(part.map((each) => JSON.stringify(each)));
  return whole.every((each) => asked.has(JSON.stringify(each)));
}

export function selectsAllOf(whole: PolicySubject, part: PolicySubject): boolean {
  return whole.selects === part.selects && asksNoMore(whole.where, part.where);
}

function meets({ on, key, operator, values }: Requirement, facts: LabelFacts): boolean {
  const value = valueOf(on, key, facts);
  // Of a namespace of which nothing is known it is not known either that it is without the label.
  if (on === "namespace-label" && facts.namespaceLabels === undefined) return false;
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

function valueOf(on: LabelSource, key: string, facts: LabelFacts): string | undefined {
  switch (on) {
    case "pod":
    case "node":
    case "service":
      return Object.hasOwn(facts.labels, key) ? facts.labels[key] : undefined;
    case "namespace-label":
      return Object.hasOwn(facts.namespaceLabels ?? {}, key) ? facts.namespaceLabels?.[key] : undefined;
    case "namespace-name":
      return facts.namespace;
    case "service-account":
      return facts.serviceAccount;
    case "cluster":
      return clusterName;
    case "reserved":
      return undefined;
  }
}
