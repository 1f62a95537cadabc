import { isOfFacts, type DefinedKind } from "@bpfleet/kinds";

export interface FollowedGroups {
  readonly cilium: boolean;
  readonly calico: boolean;
}

/** Kinds that an agent in a cluster follows, beside the pods of its node and the node itself. */
export function followedKinds(kinds: readonly DefinedKind[], follow: FollowedGroups): readonly DefinedKind[] {
  return kinds.filter((kind) => {
    const { madeFrom, source } = kind;
    if (isOfFacts(kind) || madeFrom !== undefined) return false;
    if (source.crdOwner === "Cilium") return follow.cilium;
    if (source.crdOwner === "Calico") return follow.calico;
    return true;
  });
}

/** Kinds whose objects an agent makes. */
export function madeKinds(kinds: readonly DefinedKind[]): readonly DefinedKind[] {
  return kinds.filter((kind) => kind.madeFrom !== undefined && !isOfFacts(kind));
}
