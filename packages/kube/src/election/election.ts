import { heldLease, releasedLease } from "./lease.ts";
import type { Lease } from "./lease.ts";
import type { ElectionConfig } from "./election-config.ts";

/** What to do next; what came of it is told by `see`. Calls are given up after `timeoutMs`. */
export type ElectionStep =
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "read"; readonly timeoutMs: number }
  | { readonly do: "create" | "update"; readonly lease: Lease; readonly timeoutMs: number };

export type ElectionSight =
  | { readonly saw: "waited" }
  /** `undefined`: there is none. */
  | { readonly saw: "lease"; readonly lease: Lease | undefined }
  | { readonly saw: "written"; readonly lease: Lease }
  /** The write was refused because the lease is not as we thought, or is gone. */
  | { readonly saw: "conflict" }
  | { readonly saw: "failed" };

/** From whom the lease came to us, and why it was free. */
export interface Followed {
  /** `own`: it was ours before this process began. */
  readonly because: "there was none" | "released" | "ran out" | "own";
  /** Of the last holder; unknown where it had released before we first looked. */
  readonly identity: string | undefined;
  /** When it last renewed or released it, as the lease says. */
  readonly lastAt: string | undefined;
}

export interface ElectionTime {
  /** For intervals; what the wall says is never compared with anything. */
  readonly nowMs: number;
  /** For the times written into the lease, which people read. */
  readonly wallMs: number;
}

/**
 * One candidate for a lease, by client-go's algorithm: a lease that somebody else holds is taken when it has not
 * changed for as long as its holder promised, measured by our own clock from when we saw it change. Who holds it stops
 * to lead `renewDeadlineMs` after the last renewal that succeeded was sent, which is before anybody may take it.
 */
export class Election {
  readonly #config: ElectionConfig;
  readonly #random: () => number;
  /** As we last saw it. */
  #lease: Lease | undefined;
  /** Until when it belongs to somebody else; a lease that vanishes does not end that. */
  #respectUntilMs = -Infinity;
  #wasRead = false;
  #mustRead = true;
  #waitUntilMs = -Infinity;
  /** When the call went out that has no answer yet, or the last one. */
  #askedAtMs = -Infinity;
  #leadsUntilMs = -Infinity;
  #sent: { readonly atMs: number } | undefined;
  #isReleasing = false;
  /** Who held it last, where that was another. */
  #other: string | undefined;
  #followed: Followed | undefined;

  constructor(config: ElectionConfig, random: () => number = () => 0) {
    this.#config = config;
    this.#random = random;
  }

  /** Who holds the lease as far as we know. */
  get leader(): string | undefined {
    const holder = this.#lease?.spec?.holderIdentity;
    return holder === "" ? undefined : holder;
  }

  /** Of the time that we lead, or led last. */
  get followed(): Followed | undefined {
    return this.#followed;
  }

  isLeader(nowMs: number): boolean {
    return nowMs < this.#leadsUntilMs && !this.#isReleasing;
  }

  /** Until when we lead unless a renewal succeeds. */
  get leadsUntilMs(): number {
    return this.#isReleasing ? -Infinity : this.#leadsUntilMs;
  }

  next({ nowMs, wallMs }: ElectionTime): ElectionStep {
    if (this.#waitUntilMs > nowMs) return { do: "wait", ms: this.#waitUntilMs - nowMs };
    const timeoutMs = this.#timeoutMs(nowMs);
    this.#askedAtMs = nowMs;
    if (this.#mustRead) return { do: "read", timeoutMs };
    const waitMs = this.#respectUntilMs - nowMs;
    if (waitMs > 0) {
      this.#mustRead = true;
      return { do: "wait", ms: Math.min(waitMs, this.#pollMs()) };
    }
    this.#sent = { atMs: nowMs };
    const lease = heldLease(this.#config, this.#lease, wallMs);
    return { do: this.#lease === undefined ? "create" : "update", lease, timeoutMs };
  }

  see(sight: ElectionSight, nowMs: number): void {
    switch (sight.saw) {
      case "waited":
        return;
      case "lease":
        this.#observe(sight.lease, nowMs);
        this.#mustRead = false;
        return;
      case "written":
        this.#written(sight.lease, nowMs);
        return;
      case "conflict":
        this.#sent = undefined;
        this.#mustRead = true;
        return;
      case "failed":
        this.#sent = undefined;
        this.#mustRead = true;
        // Who waited long for no answer does not wait once more.
        this.#waitUntilMs = this.#askedAtMs + this.#pollMs();
        return;
    }
  }

  /** A write was sent and its answer has not come: the lease may be ours without our knowing. */
  get awaitsAnswer(): boolean {
    return this.#sent !== undefined;
  }

  /** We stop: what is to be written so that the next need not wait; `undefined` when the lease is not ours. */
  release({ wallMs }: ElectionTime): Lease | undefined {
    this.#isReleasing = true;
    const lease = this.#lease;
    if (lease === undefined || lease.spec?.holderIdentity !== this.#config.identity) return undefined;
    return releasedLease(lease, wallMs);
  }

  #written(lease: Lease, nowMs: number): void {
    const sentAtMs = this.#sent?.atMs ?? nowMs;
    this.#sent = undefined;
    // Ours from now on, and not renewed only.
    if (sentAtMs >= this.#leadsUntilMs) this.#followed = this.#predecessor();
    this.#lease = lease;
    this.#wasRead = true;
    this.#respectUntilMs = -Infinity;
    // From when it was sent, not answered: others may have seen it since then.
    this.#leadsUntilMs = sentAtMs + this.#config.renewDeadlineMs;
    this.#waitUntilMs = sentAtMs + this.#config.retryPeriodMs;
    this.#mustRead = false;
  }

  #predecessor(): Followed {
    const lastAt = this.#lease?.spec?.renewTime;
    const holder = this.leader;
    if (this.#lease === undefined) return { because: "there was none", identity: this.#other, lastAt };
    if (holder === this.#config.identity) return { because: "own", identity: holder, lastAt };
    return holder === undefined
      ? { because: "released", identity: this.#other, lastAt }
      : { because: "ran out", identity: holder, lastAt };
  }

  #observe(lease: Lease | undefined, nowMs: number): void {
    const isChanged = !this.#wasRead || !isSameLease(lease, this.#lease);
    this.#lease = lease;
    this.#wasRead = true;
    const holder = this.leader;
    if (holder !== this.#config.identity) this.#leadsUntilMs = -Infinity;
    if (holder !== undefined && holder !== this.#config.identity) this.#other = holder;
    if (!isChanged || lease === undefined) return;
    const isOthers = holder !== undefined && holder !== this.#config.identity;
    this.#respectUntilMs = isOthers ? nowMs + this.#promisedMs(lease) : -Infinity;
  }

  #promisedMs({ spec }: Lease): number {
    return spec?.leaseDurationSeconds === undefined ? this.#config.leaseDurationMs : spec.leaseDurationSeconds * 1000;
  }

  /** Never longer than the retry period, so that a released lease is found within it; less, so that candidates spread. */
  #pollMs(): number {
    return this.#config.retryPeriodMs * (0.75 + 0.25 * this.#random());
  }

  #timeoutMs(nowMs: number): number {
    const { renewDeadlineMs } = this.#config;
    const half = renewDeadlineMs / 2;
    return this.isLeader(nowMs) ? Math.max(1, Math.min(half, this.#leadsUntilMs - nowMs)) : half;
  }
}

function isSameLease(a: Lease | undefined, b: Lease | undefined): boolean {
  return a?.metadata.resourceVersion === b?.metadata.resourceVersion && a?.metadata.uid === b?.metadata.uid;
}
