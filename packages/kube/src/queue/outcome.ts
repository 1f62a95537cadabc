/** What becomes of a key after it was worked on; a failure is thrown instead and tried again by itself. */
export type Outcome = { readonly next: "await-change" } | { readonly next: "recheck"; readonly afterMs: number };

export const awaitChange: Outcome = { next: "await-change" };

export function recheckAfter(afterMs: number): Outcome {
  return { next: "recheck", afterMs };
}
