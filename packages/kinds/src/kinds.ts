import { bpfdEbpfProgram } from "./bpfd.io/bpfdebpfprogram/bpfdebpfprogram.ts";
import { bpfProgram } from "./bpfd.io/bpfprogram/bpfprogram.ts";
import { bpfProgramConfig } from "./bpfd.io/bpfprogramconfig/bpfprogramconfig.ts";
import { ebpfProgramConfig } from "./bpfd.io/ebpfprogramconfig/ebpfprogramconfig.ts";
import { addressSlice } from "./bpfleet.io/addressslice/addressslice.ts";
import { nodeState } from "./bpfleet.io/nodestate/nodestate.ts";
import { ciliumClusterwideNetworkPolicy } from "./cilium.io/ciliumclusterwidenetworkpolicy/ciliumclusterwidenetworkpolicy.ts";
import { ciliumNetworkPolicy } from "./cilium.io/ciliumnetworkpolicy/ciliumnetworkpolicy.ts";
import { namespace } from "./core/namespace/namespace.ts";
import { node } from "./core/node/node.ts";
import { pod } from "./core/pod/pod.ts";
import { secret } from "./core/secret/secret.ts";
import { service } from "./core/service/service-kind.ts";
import { felixConfiguration } from "./crd.projectcalico.org/felixconfiguration/felixconfiguration.ts";
import { apiVersionOf } from "./define-kind.ts";
import type { DefinedKind } from "./define-kind.ts";
import { ebpfContainerPolicy } from "./networking.fos1.io/ebpfcontainerpolicy/ebpfcontainerpolicy.ts";
import { ebpfMap } from "./networking.fos1.io/ebpfmap/ebpfmap.ts";
import { ebpfNatPolicy } from "./networking.fos1.io/ebpfnatpolicy/ebpfnatpolicy.ts";
import { ebpfNetworkPolicy } from "./networking.fos1.io/ebpfnetworkpolicy/ebpfnetworkpolicy.ts";
import { ebpfProgram } from "./networking.fos1.io/ebpfprogram/ebpfprogram.ts";
import { ebpfTrafficControl } from "./networking.fos1.io/ebpftrafficcontrol/ebpftrafficcontrol.ts";
import { endpointSlice } from "./discovery.k8s.io/endpointslice/endpointslice.ts";
import { networkPolicy } from "./networking.k8s.io/networkpolicy/networkpolicy.ts";
import { podConfigMapConfig } from "./podconfig.example.com/podconfigmapconfig/podconfigmapconfig.ts";

/** Every kind that people may declare, in the order in which they are applied. */
export const kinds = [
  node,
  namespace,
  secret,
  pod,
  service,
  endpointSlice,
  addressSlice,
  ebpfMap,
  ebpfProgram,
  ebpfTrafficControl,
  ebpfNatPolicy,
  ebpfContainerPolicy,
  ebpfNetworkPolicy,
  podConfigMapConfig,
  felixConfiguration,
  networkPolicy,
  ciliumNetworkPolicy,
  ciliumClusterwideNetworkPolicy,
  bpfProgramConfig,
  ebpfProgramConfig,
  bpfProgram,
  bpfdEbpfProgram,
  nodeState,
] as unknown as readonly DefinedKind[];

const groupsOfFacts: readonly string[] = ["", "bpfleet.io", "discovery.k8s.io"];

/** Kinds that say what there is in a cluster, and not what somebody wants. */
export function isOfFacts({ group }: Pick<DefinedKind, "group">): boolean {
  return groupsOfFacts.includes(group);
}

/** The kind of an object, by what stands in the object. */
export function findKind(apiVersion: string, kind: string): DefinedKind | undefined {
  return kinds.find((candidate) => candidate.kind === kind && apiVersionOf(candidate) === apiVersion);
}

/** The kind that a person means by one of its names: `ebpfprogram`, `ebpfprograms`, `ebpf`, `ebpfprograms.networking.fos1.io`. */
export function findKindByName(name: string): DefinedKind | undefined {
  const [first = "", ...rest] = name.toLowerCase().split(".");
  const tail = rest.join(".");
  return kinds.find((candidate) => {
    const names = [candidate.plural, candidate.singular, candidate.kind.toLowerCase(), ...candidate.shortNames];
    const groups = [candidate.group, `${candidate.version}.${candidate.group}`];
    // With its group a kind needs no plural of its own: `ebpfprograms.bpfd.io`.
    const isPlain = tail !== "" && first === `${candidate.kind.toLowerCase()}s`;
    return (names.includes(first) || isPlain) && (tail === "" || groups.includes(tail));
  });
}
