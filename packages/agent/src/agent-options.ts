import type { Clock } from "@bpfleet/base";
import type { AgentDaemon } from "@bpfleet/daemon";
import type { Feature } from "@bpfleet/features";
import type { Kind } from "@bpfleet/kinds";

export type { AgentDaemon };

export interface AgentOptions {
  /** Directory of the objects; made when it is not there. */
  readonly store: string;
  /** Directory of the status records. */
  readonly stateDir: string;
  readonly daemon: AgentDaemon;
  readonly features: readonly Feature[];
  readonly kinds: readonly Kind[];
  readonly clock: Clock;
  /** One line for people, for what nobody asked for: a file that cannot be read, a bug that was survived. */
  readonly onNotice?: ((notice: string) => void) | undefined;
}
