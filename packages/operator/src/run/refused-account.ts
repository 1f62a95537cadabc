import { isApiError } from "@bpfleet/kube";

/** Leases are asked for every few seconds: a server that refuses us says so again within that time. */
const streakMs = 30_000;
/** A token that is renewed at this moment is refused once or twice. */
const patienceMs = 60_000;

/**
 * Whether the API server has known us no more for a while. A token is of one ServiceAccount: where that was deleted and
 * made anew, what the kubelet gave the pod is refused until it gives another, for the better part of an hour.
 */
export class RefusedAccount {
  #sinceMs = -Infinity;
  #lastMs = -Infinity;

  /** Whatever a request failed with. */
  see(error: unknown, nowMs: number): void {
    if (!isApiError(error) || error.status !== 401) return;
    if (nowMs - this.#lastMs > streakMs) this.#sinceMs = nowMs;
    this.#lastMs = nowMs;
  }

  why(nowMs: number): string | undefined {
    if (nowMs - this.#lastMs > streakMs || this.#lastMs - this.#sinceMs < patienceMs) return undefined;
    const seconds = Math.round((nowMs - this.#sinceMs) / 1000);
    return `the API server has refused this pod's token for ${seconds} s (401): it is of a ServiceAccount that is no more; delete the pod, and the next one gets another`;
  }
}
