/** The daemon's API for other processes. Loads neither the native addon nor anything that needs privileges. */
export type {
  AgentDaemon,
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
export { RemoteDaemon, type RemoteDaemonOptions } from "./plan-service/remote-daemon.ts";
export { TlsFiles, type TlsFilesOptions, type TlsMaterial, type TlsPaths } from "./tls/tls-files.ts";
export { forgetOwnMount, isOwnMount, rememberOwnMount } from "./state/own-mount.ts";
export { earlierPlansOf } from "./bytecode/earlier-plans.ts";
export type * from "./machine/machine.ts";
