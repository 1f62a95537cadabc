import type { Authority } from "./authority.ts";
import { makeAuthority } from "./authority.ts";
import { readCertificate, renewAt, splitPem } from "./renewal.ts";

/**
 * The authority of one installation. A new one is trusted before it signs, and an old one after it has ceased to:
 * whoever reads the bundle late still understands the other side.
 */
export interface AuthorityState {
  /** What it signed is good; it signs, unless its key is lost. */
  readonly current: Authority | LostAuthority;
  /** Is trusted already, and signs when all have had the time to learn of it. */
  readonly next: Authority | undefined;
  /** A certificate that is still trusted, or several. */
  readonly previous: string | undefined;
  /** When the last step was taken, in milliseconds since the epoch. */
  readonly since: number;
}

/** What is left of an authority whose Secret was deleted or damaged. */
export interface LostAuthority {
  readonly certificate: string;
  readonly key: undefined;
}

export interface AuthorityPlan {
  readonly commonName: string;
  readonly days: number;
  /** Time for everybody to read a changed bundle. */
  readonly overlapMs: number;
}

/** Of lost authorities: each new loss would make the bundle longer. */
const mostLost = 8;

export const defaultAuthorityPlan: AuthorityPlan = {
  commonName: "bpfleet",
  days: 730,
  overlapMs: 24 * 3_600_000,
};

/**
 * One step of the authority's life; the same value when there is nothing to do. An authority that is damaged or over
 * is replaced at once: nobody can trust it any more. One that is lost goes on being trusted, by its certificate among
 * the `survivors`, which those have that it signed for: the next one signs when all have had the time to learn of it.
 */
export async function advanceAuthority(
  state: AuthorityState | undefined,
  plan: AuthorityPlan,
  at: number,
  survivors: () => Promise<readonly string[]> = async () => [],
): Promise<AuthorityState> {
  const make = (): Promise<Authority> => makeAuthority(plan.commonName, { at, days: plan.days });
  const isOver = (pem: string): boolean => (readCertificate(pem)?.validToDate.getTime() ?? 0) <= at;
  const certificate = state === undefined ? undefined : readCertificate(state.current.certificate);
  if (state === undefined || (certificate === undefined && state.next === undefined)) {
    const [lost, ...others] = (await survivors()).filter((pem) => !isOver(pem)).slice(0, mostLost);
    if (lost === undefined) return { current: await make(), next: undefined, previous: undefined, since: at };
    const previous = others.length > 0 ? others.join("") : undefined;
    return { current: { certificate: lost, key: undefined }, next: await make(), previous, since: at };
  }
  if (certificate === undefined || isOver(state.current.certificate))
    return { current: state.next ?? (await make()), next: undefined, previous: undefined, since: at };
  const isLearnt = at - state.since >= plan.overlapMs;
  if (state.next !== undefined) {
    if (!isLearnt) return state;
    const previous = `${state.current.certificate}${state.previous ?? ""}`;
    return { current: state.next, next: undefined, previous, since: at };
  }
  if (state.previous !== undefined) return isLearnt ? { ...state, previous: undefined, since: at } : state;
  return at >= renewAt(certificate) ? { ...state, next: await make(), since: at } : state;
}

/** Who signs what must be issued now. */
export function signerOf({ current, next }: AuthorityState): Authority {
  if (current.key !== undefined) return current;
  if (next === undefined)
    throw new TypeError("find the authority that signs: its key is lost, and there is no next one");
  return next;
}

/**
 * Whose certificates are good, as one PEM text: those of who signs; and while a key is lost, those of everybody who is
 * trusted, since all others are to learn of the next one before what they know is replaced.
 */
export function goodIssuers(state: AuthorityState): string {
  return state.current.key === undefined ? trustBundle(state) : state.current.certificate;
}

/**
 * The authorities that those trust whom a lost one signed for: first the ones that signed. Of each, its certificate
 * and the bundle that it trusts.
 */
export function findSurvivors(
  leaves: readonly { readonly certificate: string; readonly bundle: string }[],
): readonly string[] {
  const trusted = new Set(leaves.flatMap(({ bundle }) => splitPem(bundle)));
  const signed = [...trusted].filter((pem) => leaves.some(({ certificate }) => isIssuer(pem, certificate)));
  return [...new Set([...signed, ...trusted])].filter((pem) => readCertificate(pem)?.ca === true);
}

function isIssuer(authority: string, leaf: string): boolean {
  const [issuer, issued] = [readCertificate(authority), readCertificate(leaf)];
  return issuer !== undefined && issued?.verify(issuer.publicKey) === true;
}

/** All certificates that are to be trusted, as one PEM text. */
export function trustBundle({ current, next, previous }: AuthorityState): string {
  return [current.certificate, next?.certificate ?? "", previous ?? ""].join("");
}
