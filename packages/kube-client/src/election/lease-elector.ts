import { Election, isApiError, leases, releasedLease, renderAddress, unanswered } from "@bpfleet/kube";
import type { ElectionConfig, ElectionStep, ElectionTime, Lease } from "@bpfleet/kube";
import { saidBy } from "../http/transport.ts";
import { at } from "../kube-client.ts";
import type { KubeClient } from "../kube-client.ts";
import { systemTiming } from "../timing.ts";
import type { Timing } from "../timing.ts";
import type { LeaderElector, LeaderElectorOptions } from "./leader-elector.ts";
import { Term } from "./term.ts";

const releasing = { timeoutMs: 2000, isUrgent: true };

export function createLeaderElector(
  client: KubeClient,
  config: ElectionConfig,
  options: LeaderElectorOptions = {},
): LeaderElector {
  return config.isEnabled ? new LeaseElector(client, config, options) : new LoneLeader(config.identity);
}

type Lead = (signal: AbortSignal) => Promise<void>;

/** Runs once, and ends when it is told to. */
abstract class Candidate implements LeaderElector {
  protected readonly stopping: AbortController = new AbortController();
  #running: Promise<void> | undefined;

  abstract get isLeader(): boolean;
  abstract get leader(): string | undefined;
  /** Until `stopping` is set, whatever happens. */
  protected abstract stand(lead: Lead): Promise<void>;

  protected get hasBegun(): boolean {
    return this.#running !== undefined;
  }

  run(lead: Lead): Promise<void> {
    if (this.#running !== undefined) throw new TypeError("run a leader elector: it runs already");
    this.#running = this.stand(lead);
    return this.#running;
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.#running?.catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

class LeaseElector extends Candidate {
  readonly #client: KubeClient;
  readonly #config: ElectionConfig;
  readonly #options: LeaderElectorOptions;
  readonly #timing: Timing;
  #election: Election;
  #told: string | undefined;
  #term: Term | undefined;

  constructor(client: KubeClient, config: ElectionConfig, options: LeaderElectorOptions) {
    super();
    this.#client = client;
    this.#config = config;
    this.#options = options;
    this.#timing = options.timing ?? systemTiming;
    this.#election = this.#begin();
  }

  get isLeader(): boolean {
    return this.#election.isLeader(this.#timing.monotonicMs());
  }

  get leader(): string | undefined {
    return this.#election.leader;
  }

  protected async stand(lead: Lead): Promise<void> {
    const { signal } = this.stopping;
    try {
      while (!signal.aborted) {
        await this.#step(this.#election.next(this.#time()));
        if (signal.aborted) break;
        if (this.isLeader) this.#term ??= this.#lead(lead);
        const term = this.#term;
        if (term === undefined || (this.isLeader && !term.mustEnd)) continue;
        await this.#endTerm();
        if (!term.hasEndedItself) continue;
        // The lease goes to whoever wants it, and we stand again.
        await this.#release();
        this.#election = this.#begin();
        await this.#timing.sleep(this.#config.retryPeriodMs, signal);
      }
    } finally {
      try {
        await this.#endTerm();
      } finally {
        await this.#release();
      }
    }
  }

  async #step(step: ElectionStep): Promise<void> {
    const election = this.#election;
    if (step.do === "wait") {
      // A leader's wait ends with its leadership and with the end of `lead`.
      const until =
        this.#term === undefined ? this.stopping.signal : AbortSignal.any([this.stopping.signal, this.#term.over]);
      await this.#timing.sleep(step.ms, until);
      election.see({ saw: "waited" }, this.#timing.monotonicMs());
      return;
    }
    const call = { timeoutMs: step.timeoutMs, signal: this.stopping.signal, isUrgent: true };
    try {
      if (step.do === "read") {
        const lease = await this.#client.find<Lease>(this.#address(), call);
        election.see({ saw: "lease", lease }, this.#timing.monotonicMs());
      } else {
        const lease = await this.#client[step.do]<Lease>(this.#address(), step.lease, call);
        election.see({ saw: "written", lease }, this.#timing.monotonicMs());
        if (this.#term === undefined && election.followed !== undefined)
          this.#options.onLead?.(lease, election.followed);
        this.#term?.extend();
      }
    } catch (cause) {
      if (this.stopping.signal.aborted) return;
      const isOutdated = isApiError(cause) && (cause.status === 409 || (cause.isNotFound && step.do === "update"));
      election.see({ saw: isOutdated ? "conflict" : "failed" }, this.#timing.monotonicMs());
      if (!isOutdated) this.#options.onFault?.(isApiError(cause) ? cause : this.#unanswered(cause));
    }
    this.#tellLeader();
  }

  #lead(lead: Lead): Term {
    const term = new Term(this.#timing, () => this.#election.leadsUntilMs);
    term.begin(lead);
    return term;
  }

  async #endTerm(): Promise<void> {
    const term = this.#term;
    this.#term = undefined;
    await term?.end();
  }

  async #release(): Promise<void> {
    let lease = this.#election.release(this.#time());
    try {
      if (lease === undefined && this.#election.awaitsAnswer) lease = await this.#findOurs();
      for (let tries = 0; lease !== undefined && tries < 3; tries++) {
        if (await this.#giveUp(lease)) return;
        // A renewal that we no longer waited for came first.
        lease = await this.#findOurs();
      }
    } catch (cause) {
      // Then it runs out by itself.
      this.#options.onFault?.(isApiError(cause) ? cause : this.#unanswered(cause));
    }
  }

  async #findOurs(): Promise<Lease | undefined> {
    const found = await this.#client.find<Lease>(this.#address(), releasing);
    const isOurs = found?.spec?.holderIdentity === this.#config.identity;
    return isOurs ? releasedLease(found, this.#timing.now()) : undefined;
  }

  async #giveUp(lease: Lease): Promise<boolean> {
    try {
      await this.#client.update<Lease>(this.#address(), lease, releasing);
      return true;
    } catch (cause) {
      if (isApiError(cause) && cause.isConflict) return false;
      throw cause;
    }
  }

  #tellLeader(): void {
    const { leader } = this.#election;
    if (leader === this.#told) return;
    this.#told = leader;
    if (leader !== undefined) this.#options.onLeader?.(leader);
  }

  #begin(): Election {
    return new Election(this.#config, () => this.#timing.random());
  }

  #time(): ElectionTime {
    return { nowMs: this.#timing.monotonicMs(), wallMs: this.#timing.now() };
  }

  #address(): ReturnType<typeof at> {
    return at(leases, this.#config);
  }

  #unanswered(cause: unknown): ReturnType<typeof unanswered> {
    return unanswered(`hold ${renderAddress(this.#address())}`, saidBy(cause), cause);
  }
}

/** Where there is no election: this process leads for as long as it runs. */
class LoneLeader extends Candidate {
  readonly #identity: string;

  constructor(identity: string) {
    super();
    this.#identity = identity;
  }

  get isLeader(): boolean {
    return this.hasBegun && !this.stopping.signal.aborted;
  }

  get leader(): string {
    return this.#identity;
  }

  protected stand(lead: Lead): Promise<void> {
    return lead(this.stopping.signal);
  }
}
