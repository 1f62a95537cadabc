export type * from "./access.ts";
export { aggregateStatus, listNames, type FleetOutcome, type NodeResult } from "./aggregate.ts";
export { apiVersionOf } from "./define-kind.ts";
export type { DefinedKind, KindSource } from "./define-kind.ts";
export * from "./kind.ts";
export * from "./kinds.ts";
export { instanceHooks } from "./policy/selected-endpoints.ts";
export { asksForServices } from "./policy/asks-for-services.ts";
export {
  packAddresses,
  readAddresses,
  sliceTarget,
  type KnownAddress,
  type SliceChanges,
} from "./bpfleet.io/addressslice/pack.ts";
export type {
  AddressLabelSet,
  AddressSlice,
  AddressSliceEntry,
  AddressSliceSpec,
} from "./bpfleet.io/addressslice/schema.ts";
export {
  collectionOf,
  fleetIndexPlace,
  parseFleetIndex,
  renderFleetIndex,
  type FleetIndex,
} from "./bpfleet.io/fleet-index.ts";
export { boundNodeState, type NodeFindings } from "./bpfleet.io/nodestate/bound-node-state.ts";
export type {
  NodeState,
  NodeStateLink,
  NodeStateMap,
  NodeStateProgram,
  NodeStateResult,
  NodeStateResultState,
  NodeStateStatus,
} from "./bpfleet.io/nodestate/schema.ts";
export type { FelixConfiguration } from "./crd.projectcalico.org/felixconfiguration/schema.ts";
export { felixFromValues } from "./crd.projectcalico.org/felixconfiguration/values.ts";
export { annotatedEndpoint, endpointKey, isEndpointOf, podName } from "./core/pod/lower.ts";
export { cgroupAnnotation, netnsAnnotation } from "./core/pod/schema.ts";
export { internalIpsOf } from "./core/node/schema.ts";
export { credentialKeys, secretData, type Secret } from "./core/secret/schema.ts";
export { troubleConditions } from "./bpfd.io/conditions.ts";
export { keptOfLongName, longestLabel, nameLabelValue, nodeLabel, programName } from "./bpfd.io/names.ts";
export { eraOf, type ProgramConfig } from "./bpfd.io/config/spec.ts";
export type { NodeProgram } from "./bpfd.io/program/spec.ts";
export { mapKey } from "./networking.fos1.io/ebpfmap/map-key.ts";
export type {
  EBPFContainerPolicy,
  EBPFContainerPolicyStatus,
} from "./networking.fos1.io/ebpfcontainerpolicy/schema.ts";
export type { EBPFMap, EBPFMapStatus } from "./networking.fos1.io/ebpfmap/schema.ts";
export type { EBPFNATPolicy, EBPFNATPolicyStatus } from "./networking.fos1.io/ebpfnatpolicy/schema.ts";
export type { EBPFNetworkPolicy, EBPFNetworkPolicyStatus } from "./networking.fos1.io/ebpfnetworkpolicy/schema.ts";
export {
  migrateNetworkPolicy,
  type MigratedRule,
  type Migration,
} from "./networking.fos1.io/ebpfnetworkpolicy/migrate.ts";
export type { EBPFProgram, EBPFProgramStatus } from "./networking.fos1.io/ebpfprogram/schema.ts";
export type { EBPFTrafficControl, EBPFTrafficControlStatus } from "./networking.fos1.io/ebpftrafficcontrol/schema.ts";
export { findFootGuns } from "./lint/foot-guns.ts";
export { nameAffected } from "./lint/name-affected.ts";
export { lintViewOf } from "./lint/view-of-objects.ts";
export { emptyView, type LintPod, type LintView, type OwnAddress } from "./lint/lint-view.ts";
export { lowerNothing, notServed, notServedReason } from "./not-served.ts";
export { matchesLabels, type LabelSelector } from "./labels/label-selector.ts";
export { denialEdits, policyEdits } from "./policy/edits/edits.ts";
export type { DeniedWish, EditPeer, EditTraffic, EditWish, PatchStep, PolicyEdit } from "./policy/edits/edit.ts";
export { findPolicy } from "./policy/read-policy.ts";
export { matchesName } from "./policy/names.ts";
export { meetsAll, type LabelFacts } from "./policy/requirements.ts";
export { containsPrefix } from "./policy/contains-prefix.ts";
export type {
  PodConfigMapConfig,
  PodConfigMapConfigStatus,
} from "./podconfig.example.com/podconfigmapconfig/schema.ts";
export { maskBytes, parsePrefix, renderAddress, renderPrefix, type PrefixReading } from "./address/prefix.ts";
export { refusedStatus } from "./status/conditions.ts";
export { listFields, type FieldFacts } from "./schema/fields-of.ts";
export { didYouMean, findNearest } from "./schema/suggest.ts";
export { parseManifest, type Manifest, type ManifestObject } from "./yaml/parse-manifest.ts";
export { pointerAtStart, renderPath } from "./yaml/places.ts";
export { readYaml, type ReadDocument } from "./yaml/read-yaml.ts";
export { renderYaml } from "./yaml/render-yaml.ts";
export type { Policy, PolicyRule } from "@bpfleet/features";
