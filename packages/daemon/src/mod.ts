export type { HookCounters } from "./counters.ts";
export * from "./daemon.ts";
export { startDaemon } from "./start-daemon.ts";
