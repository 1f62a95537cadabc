/** Verdicts that are told in a second, to all who look together. */
export const mostEventsPerSecond = 2000;
const windowMs = 100;
const perWindow = (mostEventsPerSecond * windowMs) / 1000;
const coarsest = 1 << 20;
const switchesKept = 16;

/**
 * Keeps what is told below a rate: what comes beyond it is left out, and programs then report one packet in so many more,
 * until it is calm again. Times are milliseconds of the clock that programs read.
 */
export class EventThrottle {
  /** Of the packets that are asked for, one in so many is to be reported. */
  factor = 1;
  /** What programs heed since when. */
  #switches: { readonly atMs: number; readonly factor: number }[] = [{ atMs: -Infinity, factor: 1 }];
  #windowMs = -Infinity;
  #told = 0;
  #missed = 0;
  /** Of those that were reported since `freshFromMs`. */
  #fresh = 0;
  #freshFromMs = Infinity;
  #lastMs = -Infinity;
  #isSwitching = false;

  /** Whether one that was reported at `atMs` is told. */
  take(atMs: number, nowMs: number): boolean {
    const latest = this.#switches.findLast((each) => each.atMs <= atMs);
    const isFresh = latest === this.#switches.at(-1);
    if (isFresh) {
      this.#freshFromMs = Math.min(this.#freshFromMs, atMs);
      this.#lastMs = atMs;
      this.#fresh++;
    }
    if (nowMs - this.#windowMs >= windowMs) {
      this.#windowMs = nowMs;
      this.#told = 0;
    }
    const isTold = this.#told < perWindow;
    if (isTold) this.#told++;
    this.#missed += (latest?.factor ?? 1) - (isTold ? 1 : 0);
    return isTold;
  }

  /** True where too much comes: `factor` is another one then, to be put in force. */
  rises(): boolean {
    if (this.#isSwitching || this.#fresh <= perWindow || this.factor >= coarsest) return false;
    const ratio = this.#fresh / perWindow / (Math.max(1, this.#lastMs - this.#freshFromMs) / windowMs);
    this.#restart();
    return ratio > 1 && this.#become(Math.min(coarsest, Math.ceil(this.factor * ratio)));
  }

  /** To be asked now and then. True where little comes, and `factor` is another one. */
  calms(sinceMs: number, nowMs: number): boolean {
    if (this.#isSwitching || this.factor === 1) return false;
    const share = this.#fresh / ((mostEventsPerSecond * (nowMs - sinceMs)) / 1000);
    this.#restart();
    return share < 0.5 && this.#become(Math.max(1, Math.floor(this.factor * Math.max(0.25, share))));
  }

  /** Programs heed `factor` from now on. */
  switched(nowMs: number): void {
    this.#isSwitching = false;
    this.#switches = [...this.#switches.slice(-switchesKept), { atMs: nowMs, factor: this.factor }];
    this.#restart();
  }

  /** So many found the ring full since this was said last. */
  lose(count: number): void {
    this.#missed += count * (this.#switches.at(-1)?.factor ?? 1);
  }

  /** About how many were not told since this was asked last. */
  takeMissed(): number {
    const missed = this.#missed;
    this.#missed = 0;
    return missed;
  }

  #become(factor: number): boolean {
    if (factor === this.factor) return false;
    this.factor = factor;
    this.#isSwitching = true;
    return true;
  }

  #restart(): void {
    this.#fresh = 0;
    this.#freshFromMs = Infinity;
  }
}
