import { errorText, type ObjectRef } from "@bpfleet/base";

/** What a node's table may hold. Beyond it an object is refused, and whom it selects is closed. */
export interface PolicyLimits {
  /** Of one table: peers that it tells apart. */
  readonly rows: number;
  /** Of one table: ports that it tells apart. */
  readonly columns: number;
  /** Of all tables. */
  readonly cells: number;
  /** Of all tables: rows of 16 bits for each class. */
  readonly rowBytes: number;
  /** Known addresses and prefixes. */
  readonly addresses: number;
  readonly classes: number;
  /** Of the automaton over names of DNS: about one for each of their characters. */
  readonly nameStates: number;
}

export const policyLimits: PolicyLimits = {
  rows: 65_535,
  columns: 65_535,
  cells: 1 << 21,
  rowBytes: 1 << 26,
  addresses: 1 << 21,
  classes: (1 << 24) - 1,
  nameStates: 1 << 14,
};

/** Thrown when a limit is met: with the object that takes most of it, and what helps. */
export class PolicyLimitError extends Error {
  readonly object: ObjectRef;

  constructor(object: ObjectRef, message: string) {
    super(message);
    this.object = object;
  }
}

/** An object that is not served, and why: whom it selects is closed in the directions that it isolates. */
export interface ClosedPolicy {
  readonly ref: ObjectRef;
  readonly why: string;
}

export function mistakeText(doing: string, error: unknown): string {
  return `${doing}: ${errorText(error)}; this is a mistake of bpfleet, please report it`;
}
