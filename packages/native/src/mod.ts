export * from "./binding.ts";
export { findCgroupId } from "./cgroups.ts";
export * from "./chain-self-test.ts";
export * from "./chain.ts";
export type { LoadObject } from "./kernel-programs.ts";
export * from "./node-kernel.ts";
