import type { NodeReport, ObjectReport } from "@bpfleet/agent";
import { compareText } from "@bpfleet/base";
import type { Kind } from "@bpfleet/kinds";
import { notFound, type Failure } from "../failure.ts";
import type { Labels } from "./label-selector.ts";
import { resourceName, type ResourceWish } from "./resource-args.ts";

export interface Scope {
  /** `undefined` is every namespace. */
  readonly namespace: string | undefined;
  readonly matches?: ((labels: Labels) => boolean) | undefined;
}

export interface SelectedKind {
  readonly kind: Kind;
  readonly objects: readonly ObjectReport[];
}

export interface Selection {
  readonly kinds: readonly SelectedKind[];
  /** For names that are not there. */
  readonly failures: readonly Failure[];
}

/** The objects that are asked for, by namespace and name. */
export function selectObjects(report: NodeReport, wishes: readonly ResourceWish[], scope: Scope): Selection {
  const failures: Failure[] = [];
  const kinds = wishes.map(({ kind, names }) => {
    const all = report.objects
      .filter(({ ref }) => ref.group === kind.group && ref.kind === kind.kind)
      .filter(
        ({ ref }) => kind.scope === "Cluster" || scope.namespace === undefined || ref.namespace === scope.namespace,
      )
      .filter(({ object }) => scope.matches?.(object.metadata.labels ?? {}) !== false)
      .toSorted((a, b) => compareText(a.ref.namespace, b.ref.namespace) || compareText(a.ref.name, b.ref.name));
    if (names.length === 0) return { kind, objects: all };
    const objects = names.flatMap((name) => {
      const found = all.filter(({ ref }) => ref.name === name);
      if (found.length === 0) failures.push(notFound(resourceName(kind), name));
      return found;
    });
    return { kind, objects };
  });
  return { kinds, failures };
}
