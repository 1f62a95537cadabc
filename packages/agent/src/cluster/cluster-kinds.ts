import type { DefinedKind } from "@bpfleet/kinds";

export interface FollowedGroups {
  readonly cilium: boolean;
  readonly calico: boolean;
}

/** Kinds that an agent in a cluster follows, beside the pods of its node and the node itself. */
export function followedKinds(kinds: readonly DefinedKind[], follow: FollowedGroups): readonly DefinedKind[] {
  return kinds.filter(({ group, madeFrom, source }) => {
    if (group === "" || group === "bpfleet.io" || madeFrom !== undefined) return false;
    if (source.crdOwner === "Cilium") return follow.cilium;
    if (source.crdOwner === "Calico") return follow.calico;
    return true;
  });
}

/** Kinds whose objects an agent makes. */
export function madeKinds(kinds: readonly DefinedKind[]): readonly DefinedKind[] {
  return kinds.filter(({ group, madeFrom }) => madeFrom !== undefined && group !== "bpfleet.io");
}
