export interface ElectionConfig {
  /** False: this process acts without asking. */
  readonly isEnabled: boolean;
  /** The Lease. */
  readonly namespace: string;
  readonly name: string;
  /** Who we are in it: the pod's name, so that a restarted container takes its own lease at once. */
  readonly identity: string;
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}
