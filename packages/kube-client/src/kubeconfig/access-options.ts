import type { Timing } from "../timing.ts";

export interface AccessOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--kubeconfig` */
  readonly kubeconfig?: string | undefined;
  /** `--context` */
  readonly context?: string | undefined;
  /** Whether plug-ins may ask the user. */
  readonly hasTerminal?: boolean | undefined;
  readonly allowsHttp2?: boolean | undefined;
  readonly timing?: Timing | undefined;
  /** Where a pod finds what Kubernetes gives it. */
  readonly podFolder?: string | undefined;
}
