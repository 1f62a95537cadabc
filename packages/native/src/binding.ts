/**
 * The kernel's BPF as typed classes: descriptors and calls, no policy.
 *
 * Everything that can sleep returns a promise and runs off the event loop. Every object owns its descriptor: close it, or
 * hold it with `using`. A closed one answers with a BpfError of code "closed". Failures of the world are BpfErrors; wrong
 * sizes and types of arguments are RangeErrors and TypeErrors.
 */
export { BpfError, tellingLine } from "./binding/bpf-error.ts";
export type { BpfErrorCode, BpfErrorDetails } from "./binding/bpf-error.ts";
export type {
  Batch,
  BtfInfo,
  ClsBpfState,
  Global,
  HookState,
  Instructions,
  LinkInfo,
  MapDefinition,
  MapInfo,
  ProgramDefinition,
  ProgramInfo,
  TestRunInput,
  TestRunResult,
  XdpMode,
} from "./binding/answers.ts";
export { Netns, openNetns } from "./binding/netns.ts";
export type { GlobalValue, Scalar } from "./binding/global.ts";
export { BpfObject } from "./binding/object.ts";
export type { OpenOptions } from "./binding/object.ts";
export { Btf } from "./binding/btf.ts";
export { possibleCpus } from "./binding/cpus.ts";
export { BpfMap, updateFlags } from "./binding/map.ts";
export type { MapSpec } from "./binding/map.ts";
export { RingBatch, RingReader } from "./binding/ring.ts";
export { detachClsBpf, queryClsBpf, queryHook } from "./binding/hook.ts";
export type { AttachOptions, ClsBpf, Order, Target } from "./binding/hook.ts";
export { BpfLink, BpfProgram } from "./binding/program.ts";
export type { ProgramSpec } from "./binding/program.ts";
export {
  PathLock,
  RunStatistics,
  cgroupId,
  isBpffs,
  libbpfVersion,
  list,
  mountBpffs,
  rawBtf,
  unmount,
} from "./binding/machine.ts";
export type { Listing } from "./binding/machine.ts";
export { NetlinkSocket, netlinkFamilies } from "./binding/netlink-socket.ts";
export type { NetlinkEvent, NetlinkOptions } from "./binding/netlink-socket.ts";
