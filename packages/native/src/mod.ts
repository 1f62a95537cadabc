export * from "./binding.ts";
export { findCgroupId, findCgroupIds } from "./cgroups.ts";
export * from "./chain-self-test.ts";
export * from "./chain.ts";
export type { LoadObject } from "./loaded-objects.ts";
export type { PinAccess } from "./pin-access.ts";
export * from "./elf.ts";
export * from "./node-kernel.ts";
export { kernelError, sourceLine } from "./kernel-error.ts";
