import type { CompileFacts, PolicyInput } from "../compile/compile-policy.ts";
import type { HostIntent, WorkloadIntent } from "../intent.ts";
import { readAddress } from "./address-pieces.ts";
import type { HeldPiece } from "./rounds.ts";

/** Everybody with the addresses of this round; with `self` as it seems to that node, which runs none of the pods. */
export function worldOf(
  pods: readonly WorkloadIntent[],
  hosts: readonly HostIntent[],
  round: readonly HeldPiece[],
  self?: HostIntent,
): { readonly input: Omit<PolicyInput, "policies">; readonly facts: CompileFacts } {
  const held = Map.groupBy(round, ({ holder }) =>
    holder.is === "pod" ? holder.pod : holder.is === "node" ? holder.host : undefined,
  );
  const addressesOf = (thing: WorkloadIntent | HostIntent): readonly string[] => [
    ...new Set([
      ...thing.addresses.filter((text) => readAddress(text) !== undefined),
      ...(held.get(thing) ?? []).map(({ address }) => address),
    ]),
  ];
  const endpoints = Object.fromEntries(
    pods.map((_, at) => [
      `pod-${at}`,
      { found: true, interface: `pod${at}`, ifindex: at + 1, addresses: [], mac: "02:00:00:00:00:01" } as const,
    ]),
  );
  return {
    input: {
      workloads: pods.map((pod, at) => {
        const endpoint = self === undefined ? `pod-${at}` : undefined;
        return { ...pod, addresses: addressesOf(pod), endpoint };
      }),
      addresses: [],
      hosts: hosts.map((host) => ({
        ...host,
        addresses: addressesOf(host),
        isThisNode: self === undefined ? host.isThisNode : host === self,
      })),
      services: [],
      settings: {},
    },
    facts: { nodeName: "this", interfaces: [], endpoints },
  };
}
