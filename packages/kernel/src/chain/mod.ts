export * from "./btf.ts";
export * from "./counters.ts";
export * from "./generate.ts";
export * from "./hook.ts";
export * as asm from "./insn.ts";
export type { Insn } from "./insn.ts";
export * from "./plan.ts";
export * from "./scan.ts";
