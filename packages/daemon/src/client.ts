/** The daemon's API for other processes. Loads neither the native addon nor anything that needs privileges. */
export type {
  DaemonResults,
  DaemonVersion,
  ExplainRequest,
  ExplainStep,
  Explanation,
  Healed,
  TraceEvent,
  TraceOptions,
} from "./daemon.ts";
export * from "./api/daemon-client.ts";
export { earlierPlansOf } from "./bytecode/earlier-plans.ts";
export type * from "./machine/machine.ts";
