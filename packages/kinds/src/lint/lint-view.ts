import type { NamedPort } from "@bpfleet/features";
import type { LabelFacts } from "../policy/requirements.ts";

/**
 * What may be looked at beside an object to find what is most likely not meant. Where nothing is known the answer is
 * `undefined`, and nothing is warned of.
 */
export interface LintView {
  /** At most so many of the pods that are meant. */
  findPods(isMeant: (pod: LintPod) => boolean, most: number): readonly LintPod[] | undefined;
  /** Names of the nodes that are meant. */
  findNodes(isMeant: (node: LabelFacts) => boolean): readonly string[] | undefined;
  /** Addresses that the cluster lives by. */
  readonly ownAddresses: readonly OwnAddress[];
}

export interface LintPod extends LabelFacts {
  readonly name: string;
  /** Where it is known. */
  readonly isHostNetwork?: boolean | undefined;
  /** Where they are known. */
  readonly namedPorts?: readonly Pick<NamedPort, "name" | "protocol">[] | undefined;
  /** Its own, where they are known; none of a pod on the network of its node. */
  readonly addresses?: readonly string[] | undefined;
}

export interface OwnAddress {
  readonly address: string;
  /** Such as `node worker-1` or `the API server`. */
  readonly owner: string;
  readonly isOfNode?: true | undefined;
}

/** Knows nothing. */
export const emptyView: LintView = {
  findPods: () => undefined,
  findNodes: () => undefined,
  ownAddresses: [],
};
