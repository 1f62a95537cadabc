/** Time as an argument: pure code is told the time, it never asks. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds that never run backwards, for intervals. */
  monotonicMs(): number;
}
