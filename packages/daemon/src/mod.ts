export type { HookCounters } from "./counters.ts";
export * from "./daemon.ts";
export { startDaemon } from "./start-daemon.ts";
export { preflight } from "./preflight/preflight.ts";
export type { CheckedKernel, CheckedProgram, PreflightReport } from "./preflight/preflight.ts";
