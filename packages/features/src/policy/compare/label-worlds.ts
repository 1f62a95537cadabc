import type { LabelSource, Requirement } from "../policy.ts";

/** A pod that stands for all pods with such labels. */
export interface GenericPod {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly namespaceLabels: Readonly<Record<string, string>>;
}

export interface GenericPods {
  readonly pods: readonly GenericPod[];
  /** Every combination that the selectors could tell apart is among them. */
  readonly isWhole: boolean;
}

const nameKey = "kubernetes.io/metadata.name";
const most = 256;
const mostCombinations = 1024;
/** Stands for any value that no selector names. */
const another = "another";

/** Pods of every sort that these selectors tell apart. */
export function genericPods(
  selectors: readonly (readonly Requirement[])[],
  namespaces: readonly string[],
): GenericPods {
  const asked = [...new Set(selectors.map((where) => JSON.stringify(where)))].map(
    (text) => JSON.parse(text) as readonly Requirement[],
  );
  const all = asked.flat();
  const named = [
    ...(valuesOf(all, "namespace-name").get("") ?? []),
    ...(valuesOf(all, "namespace-label").get(nameKey) ?? []),
  ];
  const names = [...new Set([...namespaces, ...named, another])];
  const ofPods = combinationsOf(asked, "pod");
  const ofNamespaces = combinationsOf(asked, "namespace-label");
  const pods: GenericPod[] = [];
  for (const labels of ofPods.all) {
    for (const namespace of names) {
      for (const each of ofNamespaces.all) {
        if (each[nameKey] !== undefined && each[nameKey] !== namespace) continue;
        pods.push({ namespace, labels, namespaceLabels: { ...each, [nameKey]: namespace } });
      }
    }
  }
  const told = new Map(
    pods.map((pod) => [`${asked.map((where) => Number(meetsAll(where, pod))).join("")} ${keyOf(pod)}`, pod]),
  );
  const kept = [...told.values()].slice(0, most);
  return { pods: kept, isWhole: ofPods.isWhole && ofNamespaces.isWhole && kept.length === told.size };
}

/** Labels of nodes of every sort that these selectors tell apart. */
export function genericNodes(selectors: readonly (readonly Requirement[])[]): {
  readonly sorts: readonly Labels[];
  readonly isWhole: boolean;
} {
  const asked = selectors.map((where) =>
    where.map((each): Requirement => (each.on === "node" ? { ...each, on: "pod" } : each)),
  );
  const { pods, isWhole } = genericPods(asked, []);
  return { sorts: pods.map(({ labels }) => labels), isWhole };
}

/** Whether a node with these labels is selected. */
export function areMet(where: readonly Requirement[], labels: Labels): boolean {
  return meetsAll(where, { namespace: "", labels, namespaceLabels: {} });
}

/** Pods of one namespace stay apart if that cannot have the labels of both. */
function keyOf({ namespace, namespaceLabels }: GenericPod): string {
  return JSON.stringify([namespace, namespaceLabels]);
}

function meetsAll(where: readonly Requirement[], pod: GenericPod): boolean {
  return where.every(({ on, key, operator, values }) => {
    const value =
      on === "namespace-name" ? pod.namespace : (on === "namespace-label" ? pod.namespaceLabels : pod.labels)[key];
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
  });
}

type Labels = Readonly<Record<string, string>>;

function combinationsOf(
  selectors: readonly (readonly Requirement[])[],
  on: LabelSource,
): { readonly all: readonly Labels[]; readonly isWhole: boolean } {
  const values = [...valuesOf(selectors.flat(), on)];
  const count = values.reduce((product, [, each]) => product * (each.size + 2), 1);
  if (count > mostCombinations) return { all: likely(selectors, on), isWhole: false };
  return {
    all: values.reduce<readonly Labels[]>(
      (sets, [key, each]) =>
        sets.flatMap((labels) => [labels, ...[...each, another].map((value) => ({ ...labels, [key]: value }))]),
      [{}],
    ),
    isWhole: true,
  };
}

/** Those that meet one selector, or two. */
function likely(selectors: readonly (readonly Requirement[])[], on: LabelSource): readonly Labels[] {
  const meeting = selectors.map((where) =>
    Object.fromEntries(
      where
        .filter((each) => each.on === on && (each.operator === "In" || each.operator === "Exists"))
        .map(({ key, values }) => [key, values[0] ?? another]),
    ),
  );
  const all = [{}, ...meeting, ...meeting.flatMap((one) => meeting.map((other) => ({ ...one, ...other })))];
  return [...new Map(all.map((labels) => [JSON.stringify(labels, Object.keys(labels).toSorted()), labels])).values()];
}

function valuesOf(requirements: readonly Requirement[], on: LabelSource): Map<string, Set<string>> {
  const values = new Map<string, Set<string>>();
  for (const each of requirements) {
    if (each.on !== on) continue;
    const known = values.get(each.key) ?? new Set<string>();
    for (const value of each.values) known.add(value);
    values.set(each.key, known);
  }
  return values;
}
