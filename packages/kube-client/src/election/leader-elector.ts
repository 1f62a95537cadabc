import type { ApiError, Followed, Lease } from "@bpfleet/kube";
import type { Timing } from "../timing.ts";

export interface LeaderElectorOptions {
  readonly timing?: Timing | undefined;
  readonly onLeader?: ((identity: string) => void) | undefined;
  /** We lead from now on: by which lease, and after whom. */
  readonly onLead?: ((lease: Lease, followed: Followed) => void) | undefined;
  readonly onFault?: ((error: ApiError) => void) | undefined;
}

/** One candidate for a Lease. */
export interface LeaderElector extends AsyncDisposable {
  readonly isLeader: boolean;
  /** Who leads as far as is known here. */
  readonly leader: string | undefined;
  /**
   * Waits for the lease, then runs `lead`. The signal is set when the lease is lost or `stop` is called; nothing may be
   * written after that. When `lead` ends the lease is released. Loops until stopped.
   */
  run(lead: (signal: AbortSignal) => Promise<void>): Promise<void>;
  /** Ends `lead`, releases the lease, and ends. */
  stop(): Promise<void>;
}
