import type { Authority } from "./authority.ts";
import { makeAuthority } from "./authority.ts";
import { readCertificate, renewAt } from "./renewal.ts";

/**
 * The authority of one installation. A new one is trusted before it signs, and an old one after it has ceased to:
 * whoever reads the bundle late still understands the other side.
 */
export interface AuthorityState {
  /** Signs. */
  readonly current: Authority;
  /** Is trusted already, and signs when all have had the time to learn of it. */
  readonly next: Authority | undefined;
  /** A certificate that is still trusted. */
  readonly previous: string | undefined;
  /** When the last step was taken, in milliseconds since the epoch. */
  readonly since: number;
}

export interface AuthorityPlan {
  readonly commonName: string;
  readonly days: number;
  /** Time for everybody to read a changed bundle. */
  readonly overlapMs: number;
}

export const defaultAuthorityPlan: AuthorityPlan = {
  commonName: "bpfleet",
  days: 730,
  overlapMs: 24 * 3_600_000,
};

/**
 * One step of the authority's life; the same value when there is nothing to do. An authority that is damaged or over
 * is replaced at once: nobody can trust it any more.
 */
export async function advanceAuthority(
  state: AuthorityState | undefined,
  plan: AuthorityPlan,
  at: number,
): Promise<AuthorityState> {
  const make = (): Promise<Authority> => makeAuthority(plan.commonName, { at, days: plan.days });
  const certificate = state === undefined ? undefined : readCertificate(state.current.certificate);
  if (state === undefined || certificate === undefined || at >= certificate.validToDate.getTime())
    return { current: await make(), next: undefined, previous: undefined, since: at };
  const isLearnt = at - state.since >= plan.overlapMs;
  if (state.next !== undefined) {
    if (!isLearnt) return state;
    return { current: state.next, next: undefined, previous: state.current.certificate, since: at };
  }
  if (state.previous !== undefined) return isLearnt ? { ...state, previous: undefined, since: at } : state;
  return at >= renewAt(certificate) ? { ...state, next: await make(), since: at } : state;
}

/** All certificates that are to be trusted, as one PEM text. */
export function trustBundle({ current, next, previous }: AuthorityState): string {
  return [current.certificate, next?.certificate ?? "", previous ?? ""].join("");
}
