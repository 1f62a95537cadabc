import type { PolicyEndpoint } from "@bpfleet/features";

type Named = Pick<PolicyEndpoint, "isNode" | "namespace" | "pod" | "ifindex">;

const and = " and ";

/**
 * `namespace/name` of the pod at an interface, or `node name` of the node itself; of several Pod objects that say they
 * are in one network namespace all of them. `undefined` where none is known.
 */
export function endpointName(endpoints: readonly Named[] | undefined, ifindex: number): string | undefined {
  const names = (endpoints ?? [])
    .filter((each) => each.ifindex === ifindex)
    .map(({ isNode, namespace, pod }) => (isNode === true ? `node ${pod}` : `${namespace}/${pod}`));
  return names.length === 0 ? undefined : names.join(and);
}

/** Whether one of those that are named so is in the namespace. */
export function isInNamespace(name: string | undefined, namespace: string): boolean {
  return name?.split(and).some((each) => each.startsWith(`${namespace}/`)) === true;
}

/** Whether one of those that are named so is meant by a name, with its namespace or without. */
export function isCalled(name: string | undefined, wish: string): boolean {
  return (
    name?.split(and).some((each) => each === wish || each.endsWith(`/${wish}`) || each === `node ${wish}`) === true
  );
}
