import type { LabelFacts } from "@bpfleet/kinds";

/**
 * What admission may look at beside the object. Where nothing is known the answer is `undefined`, and nothing is
 * warned of.
 */
export interface AdmissionView {
  /** Whether there is a pod like this. */
  hasPod(isMeant: (pod: LabelFacts) => boolean): boolean | undefined;
  /** Whether there is a node like this. */
  hasNode(isMeant: (node: LabelFacts) => boolean): boolean | undefined;
  /** Addresses that the cluster lives by. */
  readonly ownAddresses: readonly OwnAddress[];
}

export interface OwnAddress {
  readonly address: string;
  /** Such as `node worker-1` or `the API server`. */
  readonly owner: string;
}

/** Knows nothing. */
export const emptyView: AdmissionView = {
  hasPod: () => undefined,
  hasNode: () => undefined,
  ownAddresses: [],
};
