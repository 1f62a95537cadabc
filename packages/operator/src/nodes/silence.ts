import type { Clock } from "@bpfleet/base";

/** Since when nobody stands for what nodes told: no agent is ready there, and none has written. */
export class Silence {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #followsSince: number;
  readonly #unreadySince = new Map<string, number>();
  readonly #wroteAt = new Map<string, number>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
    this.#followsSince = clock.monotonicMs();
  }

  /** As it is now; of a node that is not there nothing is remembered. */
  see(node: string, { isThere, isReady }: { readonly isThere: boolean; readonly isReady: boolean }): void {
    if (isReady || !isThere) this.#unreadySince.delete(node);
    else if (!this.#unreadySince.has(node)) this.#unreadySince.set(node, this.#clock.monotonicMs());
  }

  /** The next of its name is another. */
  forgetNode(node: string): void {
    this.#unreadySince.delete(node);
  }

  wrote(node: string): void {
    this.#wroteAt.set(node, this.#clock.monotonicMs());
  }

  forgetReport(node: string): void {
    this.#wroteAt.delete(node);
  }

  forMs(node: string): number {
    const since = Math.max(this.#unreadySince.get(node) ?? this.#followsSince, this.#wroteAt.get(node) ?? -Infinity);
    return this.#clock.monotonicMs() - since;
  }

  get size(): number {
    return this.#unreadySince.size + this.#wroteAt.size;
  }
}
