/** A mistake in something a user wrote; pure code returns these, all at once, and throws none. */
export interface Issue {
  /** JSON pointer into the object, e.g. `/spec/settings/blacklist/ips/1`; `""` is the object itself. */
  readonly path: string;
  /** Stable word for scripts: `required`, `type`, `enum`, `format`, `unknown-field`, … */
  readonly code: string;
  readonly message: string;
  /** A warning is shown and changes nothing; an error refuses the object. */
  readonly severity: "error" | "warning";
  /** Where the value stands in the text it was read from, when it was read from text. */
  readonly position?: Position | undefined;
}

export interface Position {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based, in characters. */
  readonly column: number;
}

export type Result<T> =
  | { readonly ok: true; readonly value: T; readonly issues: readonly Issue[] }
  | { readonly ok: false; readonly issues: readonly Issue[] };

export function ok<T>(value: T, issues: readonly Issue[] = []): Result<T> {
  return { ok: true, value, issues };
}

export function refused(issues: readonly Issue[]): Result<never> {
  return { ok: false, issues };
}
