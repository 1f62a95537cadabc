import { ApiError } from "@bpfleet/kube";

/** How to reach a cluster, or who we are there, cannot be found out. The message is where, what is wrong, what helps. */
export class AccessError extends ApiError {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, {
      code: "kubeconfig",
      status: 0,
      reason: "Kubeconfig",
      retry: "when-changed",
      cause: options.cause,
    });
  }
}
