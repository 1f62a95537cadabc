export * from "./bytecode/bytecode.ts";
export * from "./bytecode/intent.ts";
export type { BytecodeData } from "./bytecode/plan.ts";
export * from "./counters.ts";
export * from "./events.ts";
export * from "./feature.ts";
export * from "./node-maps.ts";
export { objectLayouts } from "./object-layouts.ts";
export type { PodData } from "./pod-cgroups.ts";
export * from "./rule-counters.ts";
export * from "./devices/devices.ts";
export * from "./devices/intent.ts";
export * from "./filter/filter.ts";
export * from "./filter/intent.ts";
export * from "./maps/intent.ts";
export * from "./maps/maps.ts";
export * from "./sockets/intent.ts";
export * from "./sockets/sockets.ts";
export { describeLoggedFlow, readLoggedFlow, type LogEntry, type LoggedFlow } from "./policy/flow-log.ts";
export { firewalledPods, type FirewalledPod } from "./policy/firewalled-pods.ts";
export { readFlows, type PolicyFlow } from "./policy/flows.ts";
export {
  comparePolicies,
  type ComparedPolicies,
  type ComparedDecision,
  type DifferentPeer,
  type Holder,
  type PolicyComparison,
  type PolicyDifference,
  type PortSpan,
} from "./policy/compare/compare-policies.ts";
export { isWholeSpace, isWithinPieces, renderNumber, renderPieces } from "./policy/compare/address-pieces.ts";
export * from "./policy/intent.ts";
export { nodeInstanceKey, type PlaceRange, type PolicyData, type PolicyEndpoint } from "./policy/instances.ts";
export { gracesKey, withoutGrace } from "./policy/grace.ts";
export { policy } from "./policy/policy-feature.ts";
export { isFromPeer, readOpening, type Opening } from "./policy/read-opening.ts";
export * from "./policy/policy.ts";
export { findService, type FoundService, type ServiceBackend } from "./policy/services/find-service.ts";
export * from "./policy/scope.ts";
export * from "./policy/table/judge-table.ts";
export { readTable, type TableContents } from "./policy/table/read-table.ts";
export type * from "./policy/table/policy-table.ts";
export * from "./policy/table/write-table.ts";
export {
  countForgotten,
  readLearnt,
  readNameEvents,
  type ForgottenNames,
  type LearntName,
  type NameEvents,
} from "./policy/learnt.ts";
export { readTrials, readTrialTotals, type PolicyTrial, type TrialTotals } from "./policy/trials.ts";
export * from "./features.ts";
/** What a policy's node is asked beside it, for whoever starts one. */
export { failSafeGrammar, hostAccesses, parseSeconds, readFailSafePorts, type HostAccess } from "@bpfleet/kernel";
