import type { Authority } from "./authority.ts";
import { makeAuthority } from "./authority.ts";
import { isAhead, readCertificate, renewAt, splitPem } from "./renewal.ts";

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
 * One step of the authority's life; the same value when there is nothing to do. An authority that is damaged or over,
 * or was made by a clock that was far ahead of `latest`, is replaced at once: nobody can trust it. One that is lost goes
 * on being trusted, by its certificate among the `survivors`, which those have that it signed for: the next one signs
 * when all have had the time to learn of it.
 */
export async function advanceAuthority(
  state: AuthorityState | undefined,
  plan: AuthorityPlan,
  at: number,
  survivors: () => Promise<readonly string[]> = async () => [],
  latest = at,
): Promise<AuthorityState> {
  const make = (): Promise<Authority> => makeAuthority(plan.commonName, { at, days: plan.days });
  const isOver = (pem: string): boolean => (readCertificate(pem)?.validToDate.getTime() ?? 0) <= at;
  if (state === undefined || (readCertificate(state.current.certificate) === undefined && state.next === undefined)) {
    const [lost, ...others] = (await survivors()).filter((pem) => !isOver(pem)).slice(0, mostLost);
    if (lost === undefined) return { current: await make(), next: undefined, previous: undefined, since: at };
    const previous = others.length > 0 ? others.join("") : undefined;
    return { current: { certificate: lost, key: undefined }, next: await make(), previous, since: at };
  }
  const { current, next, previous, since } = state;
  const isUseless = (pem: string): boolean => isOver(pem) || isAhead(beginOf(pem), latest);
  const isNextSound = next !== undefined && !isUseless(next.certificate);
  if (isUseless(current.certificate))
    return { current: isNextSound ? next : await make(), next: undefined, previous: undefined, since: at };
  if (next !== undefined && !isNextSound)
    return { ...state, next: current.key === undefined ? await make() : undefined, since: at };
  if ((next ?? previous) !== undefined && isAhead(since, latest)) return { ...state, since: at };
  const isLearnt = at - since >= plan.overlapMs;
  if (next !== undefined) {
    if (!isLearnt) return state;
    return { current: next, next: undefined, previous: `${current.certificate}${previous ?? ""}`, since: at };
  }
  if (previous !== undefined) return isLearnt ? { ...state, previous: undefined, since: at } : state;
  const certificate = readCertificate(current.certificate);
  const isDue = certificate !== undefined && at >= renewAt(certificate);
  return isDue ? { ...state, next: await make(), since: at } : state;
}

/** What of it may have been told by a clock that was ahead, in milliseconds since the epoch. */
export function momentsOf({ current, next, since }: AuthorityState): readonly number[] {
  return [since, beginOf(current.certificate), beginOf(next?.certificate ?? "")];
}

function beginOf(pem: string): number {
  return readCertificate(pem)?.validFromDate.getTime() ?? 0;
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
