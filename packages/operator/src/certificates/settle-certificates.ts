import { secretNames } from "../desired/names.ts";
import {
  advanceAuthority,
  findSurvivors,
  goodIssuers,
  momentsOf,
  signerOf,
  trustBundle,
  type AuthorityPlan,
  type AuthorityState,
} from "./authority-state.ts";
import { issueCertificate } from "./authority.ts";
import { leafCertificates, type LeafCertificate } from "./leaf-certificates.ts";
import { isAhead, readCertificate, whyRenew } from "./renewal.ts";
import {
  decodeAuthority,
  decodeBundle,
  decodeKeyPair,
  encodeAuthority,
  encodeKeyPair,
  type SecretData,
} from "./secret-data.ts";

/** Where certificates are kept. A Secret is written as it was read, or not at all. */
export interface KeptSecrets<T extends { readonly data?: SecretData }> {
  read(name: string): Promise<T | undefined>;
  write(name: string, live: T | undefined, type: string, data: SecretData, because: string): Promise<void>;
  /** What the clock says of who keeps them. */
  otherClock(): Promise<number>;
}

/** What the time is. */
interface Moment {
  readonly at: number;
  /** What the clock says that is ahead; the other one is asked only where a moment that was told seems to be ahead of ours. */
  readonly latest: (told: readonly number[]) => Promise<number>;
}

export interface CertificatePlan {
  readonly authority: AuthorityPlan;
  readonly leafDays: number;
}

/** One look at everything: what is due is written, and nothing else. A second look at the same moment writes nothing. */
export async function settleCertificates<T extends { readonly data?: SecretData }>(
  secrets: KeptSecrets<T>,
  plan: CertificatePlan,
  at: number,
): Promise<void> {
  let other: Promise<number> | undefined;
  const latest = async (told: readonly number[]): Promise<number> =>
    told.some((each) => isAhead(each, at)) ? Math.max(at, await (other ??= secrets.otherClock())) : at;
  const authority = await settleAuthority(secrets, plan.authority, { at, latest });
  for (const leaf of leafCertificates) await settleLeaf(secrets, leaf, authority, { at, latest, days: plan.leafDays });
}

async function settleAuthority<T extends { readonly data?: SecretData }>(
  secrets: KeptSecrets<T>,
  plan: AuthorityPlan,
  { at, latest }: Moment,
): Promise<AuthorityState> {
  const live = await secrets.read(secretNames.authority);
  const before = decodeAuthority(live?.data);
  const late = await latest(before === undefined ? [] : momentsOf(before));
  const after = await advanceAuthority(before, plan, at, () => survivorsOf(secrets), late);
  const wanted = encodeAuthority(after, trustBundle(after));
  if (!has(live?.data, wanted))
    await secrets.write(secretNames.authority, live, "Opaque", wanted, whyWrite(before, after, late));
  return after;
}

/** What others put beside it is theirs. */
function has(data: SecretData = {}, wanted: SecretData): boolean {
  return Object.entries(wanted).every(([name, value]) => data[name] === value);
}

function whyWrite(before: AuthorityState | undefined, after: AuthorityState, latest: number): string {
  if (before === after) return "it was edited";
  if (before !== undefined && momentsOf(before).some((each) => isAhead(each, latest)))
    return "a clock that was far ahead made it";
  if (before !== undefined) return "its time has come";
  return after.current.key === undefined
    ? "the one before is lost; it is trusted until all know the next one"
    : "there is none";
}

async function survivorsOf<T extends { readonly data?: SecretData }>(
  secrets: KeptSecrets<T>,
): Promise<readonly string[]> {
  const leaves = [];
  for (const { secret } of leafCertificates) {
    const data = (await secrets.read(secret))?.data;
    const [pair, bundle] = [decodeKeyPair(data), decodeBundle(data)];
    if (pair !== undefined && bundle !== undefined) leaves.push({ certificate: pair.certificate, bundle });
  }
  return findSurvivors(leaves);
}

async function settleLeaf<T extends { readonly data?: SecretData }>(
  secrets: KeptSecrets<T>,
  { secret, names }: LeafCertificate,
  authority: AuthorityState,
  { at, latest, days }: Moment & { readonly days: number },
): Promise<void> {
  const live = await secrets.read(secret);
  const kept = decodeKeyPair(live?.data);
  const begins = readCertificate(kept?.certificate ?? "")?.validFromDate.getTime() ?? 0;
  const why = whyRenew(kept, names, goodIssuers(authority), at, await latest([begins]));
  const bundle = trustBundle(authority);
  if (why === undefined && decodeBundle(live?.data) === bundle) return;
  const pair =
    why === undefined && kept !== undefined ? kept : await issueCertificate(signerOf(authority), names, { at, days });
  await secrets.write(
    secret,
    live,
    "kubernetes.io/tls",
    encodeKeyPair(pair, bundle),
    why ?? "who is trusted has changed",
  );
}
