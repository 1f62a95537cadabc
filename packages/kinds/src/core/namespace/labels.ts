import type { Parsed, ResourceView } from "../../kind.ts";

type Labels = Readonly<Record<string, string>>;

/** Kubernetes gives it to every namespace. https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name */
const nameLabel = "kubernetes.io/metadata.name";

const known = new WeakMap<Parsed, Labels>();

/** The labels of a namespace: its name at least, also where there is no object of it. */
export function namespaceLabels(view: Pick<ResourceView, "find">, name: string): Labels {
  const parsed = findNamespace(view, name);
  if (parsed === undefined) return { [nameLabel]: name };
  const before = known.get(parsed);
  if (before !== undefined) return before;
  const labels = { ...parsed.object.metadata.labels, [nameLabel]: name };
  known.set(parsed, labels);
  return labels;
}

export function findNamespace(view: Pick<ResourceView, "find">, name: string): Parsed | undefined {
  return view.find({ group: "", kind: "Namespace", namespace: "", name });
}
