import type { Clock, ObjectRef } from "@bpfleet/base";
import type { AgentDaemon, DaemonResults } from "@bpfleet/daemon";
import type { Feature } from "@bpfleet/features";
import type { NodePlan } from "@bpfleet/kernel";
import type { Kind } from "@bpfleet/kinds";
import type { PodPlaces } from "./pod-cgroups.ts";
import type { ObjectRecords } from "./records.ts";
import type { ObjectReport } from "./report.ts";
import type { ObjectSource } from "./store/object-source.ts";

export type { AgentDaemon };

/** What every agent needs, wherever its objects are. */
export interface AgentParts {
  readonly daemon: AgentDaemon;
  readonly features: readonly Feature[];
  readonly kinds: readonly Kind[];
  readonly clock: Clock;
  /** One line for people, for what nobody asked for: a file that cannot be read, a bug that was survived. */
  readonly onNotice?: ((notice: string) => void) | undefined;
}

export interface AgentOptions extends AgentParts {
  /** Directory of the objects; made when it is not there. */
  readonly store: string;
  /** Directory of the status records. */
  readonly stateDir: string;
}

export interface ObjectAgentOptions extends AgentParts {
  readonly source: ObjectSource;
  readonly records: ObjectRecords;
  /** By annotation when not given. */
  readonly podPlaces?: PodPlaces | undefined;
  /** Of which objects it is kept, and told, what became of them: of all when not given. */
  readonly keeps?: ((ref: ObjectRef) => boolean) | undefined;
  /** Told of what became of every object, each time something may be different. */
  readonly onReports?: ((told: ToldReports) => void) | undefined;
}

export interface ToldReports {
  readonly reports: readonly ObjectReport[];
  readonly results: DaemonResults;
  /** Of which the results are. */
  readonly plan: NodePlan;
}
