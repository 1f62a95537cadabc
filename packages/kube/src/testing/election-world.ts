import { chanceOf } from "./chance.ts";
import { Election } from "../election/election.ts";
import type { ElectionSight, ElectionStep } from "../election/election.ts";
import type { ElectionConfig } from "../election/election-config.ts";
import type { Lease } from "../election/lease.ts";

export interface WorldOptions {
  readonly seed: number;
  readonly candidates: number;
  readonly config: Omit<ElectionConfig, "identity">;
  /** Rates of the candidates' clocks lie between these. */
  readonly rates: readonly [slowest: number, fastest: number];
  /** Chance that a request or an answer is lost, that a process dies, that one stops in order. */
  readonly loss: number;
  readonly death: number;
  readonly stop: number;
  /** A request or an answer takes at most so long. */
  readonly slowestMs: number;
}

interface Candidate {
  readonly identity: string;
  election: Election;
  /** Answers to those that died mean nothing. */
  life: number;
  readonly rate: number;
  readonly offsetMs: number;
}

/** A store of one lease, candidates with clocks of their own, and a network that loses and delays; all by chance of a seed. */
export class ElectionWorld {
  readonly #options: WorldOptions;
  readonly #candidates: Candidate[];
  readonly #events: { atMs: number; run: () => void }[] = [];
  readonly random: () => number;
  #nowMs = 0;
  #lease: Lease | undefined;
  #version = 0;
  #isCalm = false;
  /** When two led at once. */
  readonly overlaps: string[] = [];
  readonly leaders = new Set<string>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.random = chanceOf(options.seed);
    const [slowest, fastest] = options.rates;
    this.#candidates = Array.from({ length: options.candidates }, (_, index) => ({
      identity: `candidate-${index}`,
      election: this.#begin(`candidate-${index}`),
      life: 0,
      rate: slowest + (fastest - slowest) * this.random(),
      offsetMs: Math.round(1e9 * this.random()),
    }));
    for (const candidate of this.#candidates) this.#after(1000 * this.random(), () => this.#turn(candidate, 0));
  }

  run(forMs: number): void {
    const endMs = this.#nowMs + forMs;
    for (;;) {
      let first = 0;
      for (let at = 1; at < this.#events.length; at++)
        if ((this.#events[at]?.atMs ?? 0) < (this.#events[first]?.atMs ?? 0)) first = at;
      const event = this.#events[first];
      if (event === undefined || event.atMs > endMs) break;
      this.#events.splice(first, 1);
      this.#nowMs = event.atMs;
      event.run();
      const leading = this.leading();
      for (const leader of leading) this.leaders.add(leader);
      if (leading.length > 1) this.overlaps.push(`${Math.round(this.#nowMs)} ms: ${leading.join(" and ")}`);
    }
    this.#nowMs = endMs;
  }

  /** Nothing is lost or slow from now on, and nobody dies. */
  calm(): void {
    this.#isCalm = true;
  }

  /** The one who leads dies and does not come back. */
  lose(): void {
    const [leader] = this.leading();
    for (const candidate of this.#candidates) {
      if (candidate.identity !== leader) continue;
      candidate.life += 1;
      candidate.election = this.#begin(candidate.identity);
    }
  }

  leading(): readonly string[] {
    return this.#candidates
      .filter((candidate) => candidate.election.isLeader(this.#local(candidate)))
      .map(({ identity }) => identity);
  }

  #begin(identity: string): Election {
    return new Election({ ...this.#options.config, identity }, () => this.random());
  }

  #turn(candidate: Candidate, life: number): void {
    if (candidate.life !== life) return;
    if (!this.#isCalm && this.random() < this.#options.death) return this.#die(candidate);
    if (!this.#isCalm && this.random() < this.#options.stop) return this.#release(candidate);
    // The wall clock jumps as it likes.
    const step = candidate.election.next({ nowMs: this.#local(candidate), wallMs: 1e12 * this.random() });
    if (step.do === "wait") this.#sleep(candidate, step.ms);
    else this.#call(candidate, step);
  }

  #sleep(candidate: Candidate, ms: number): void {
    const { life } = candidate;
    const late = this.#isCalm ? 0 : 500 * this.random() ** 4;
    this.#after(ms / candidate.rate + late, () => {
      if (candidate.life === life) candidate.election.see({ saw: "waited" }, this.#local(candidate));
      this.#turn(candidate, life);
    });
  }

  #call(candidate: Candidate, step: Exclude<ElectionStep, { readonly do: "wait" }>): void {
    const { life } = candidate;
    let isAnswered = false;
    const answer = (sight: ElectionSight): void => {
      if (isAnswered || candidate.life !== life) return;
      isAnswered = true;
      candidate.election.see(sight, this.#local(candidate));
      this.#turn(candidate, life);
    };
    this.#after(step.timeoutMs / candidate.rate, () => answer({ saw: "failed" }));
    if (this.#isLost()) return;
    this.#after(this.#delayMs(), () => {
      const sight =
        step.do === "read" ? ({ saw: "lease", lease: this.#lease } as const) : this.#write(step.do, step.lease);
      if (!this.#isLost()) this.#after(this.#delayMs(), () => answer(sight));
    });
  }

  #write(how: "create" | "update", lease: Lease): ElectionSight {
    const isFree = how === "create" ? this.#lease === undefined : this.#lease !== undefined;
    const isCurrent = how === "create" || lease.metadata.resourceVersion === this.#lease?.metadata.resourceVersion;
    if (!isFree || !isCurrent) return { saw: "conflict" };
    this.#version += 1;
    this.#lease = { ...lease, metadata: { ...lease.metadata, uid: "one", resourceVersion: String(this.#version) } };
    return { saw: "written", lease: this.#lease };
  }

  /** Dead at once; what it sent is still under way. It comes back with its own name. */
  #die(candidate: Candidate): void {
    candidate.life += 1;
    candidate.election = this.#begin(candidate.identity);
    const { life } = candidate;
    this.#after(20_000 * this.random() ** 2, () => this.#turn(candidate, life));
  }

  #release(candidate: Candidate): void {
    const lease = candidate.election.release({ nowMs: this.#local(candidate), wallMs: 0 });
    if (lease !== undefined && !this.#isLost()) this.#after(this.#delayMs(), () => this.#write("update", lease));
    this.#die(candidate);
  }

  #isLost(): boolean {
    return !this.#isCalm && this.random() < this.#options.loss;
  }

  #delayMs(): number {
    return this.#isCalm ? 5 : this.#options.slowestMs * this.random() ** 3;
  }

  #local({ rate, offsetMs }: Candidate): number {
    return offsetMs + this.#nowMs * rate;
  }

  #after(ms: number, run: () => void): void {
    this.#events.push({ atMs: this.#nowMs + ms, run });
  }
}
