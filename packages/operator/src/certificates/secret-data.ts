import type { KeyPair } from "./authority.ts";
import type { AuthorityState } from "./authority-state.ts";
import { isKeyOf, readCertificate } from "./renewal.ts";

/** `data` of a v1 Secret: base64 by name. */
export type SecretData = Readonly<Record<string, string>>;

/** The authority as its Secret keeps it: `tls.crt` and `tls.key` sign, `ca.crt` is what is trusted. */
export function encodeAuthority(state: AuthorityState, bundle: string): SecretData {
  return encode({
    "tls.crt": state.current.certificate,
    "tls.key": state.current.key,
    "ca.crt": bundle,
    "next.crt": state.next?.certificate,
    "next.key": state.next?.key,
    "previous.crt": state.previous,
    since: new Date(state.since).toISOString(),
  });
}

/** What a Secret keeps of an authority; `undefined` when it is not all there. A key of something else is none. */
export function decodeAuthority(data: SecretData | undefined): AuthorityState | undefined {
  const { "next.crt": nextCertificate, "next.key": nextKey, "previous.crt": previous, since = "" } = decode(data);
  const { "tls.crt": certificate, "tls.key": keptKey } = decode(data);
  const time = Date.parse(since);
  if (certificate === undefined || Number.isNaN(time)) return undefined;
  const key = isForeign(keptKey, certificate) ? undefined : keptKey;
  const next =
    nextCertificate === undefined || nextKey === undefined || isForeign(nextKey, nextCertificate)
      ? undefined
      : { certificate: nextCertificate, key: nextKey };
  // Without its key and without a next one nobody can sign.
  return key === undefined && next === undefined
    ? undefined
    : { current: { certificate, key }, next, previous, since: time };
}

/** A certificate as a Secret of type kubernetes.io/tls keeps it, with what to trust beside it. */
export function encodeKeyPair(pair: KeyPair, bundle: string): SecretData {
  return encode({ "tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": bundle });
}

export function decodeKeyPair(data: SecretData | undefined): KeyPair | undefined {
  const { "tls.crt": certificate, "tls.key": key } = decode(data);
  return certificate === undefined || key === undefined ? undefined : { certificate, key };
}

/** The bundle beside a certificate. */
export function decodeBundle(data: SecretData | undefined): string | undefined {
  return decode(data)["ca.crt"];
}

function isForeign(key: string | undefined, pem: string): boolean {
  const certificate = readCertificate(pem);
  return key !== undefined && certificate !== undefined && !isKeyOf(key, certificate);
}

function encode(texts: Readonly<Record<string, string | undefined>>): SecretData {
  return Object.fromEntries(
    Object.entries(texts).flatMap(([name, text]) =>
      text === undefined ? [] : [[name, Buffer.from(text).toString("base64")]],
    ),
  );
}

function decode(data: SecretData | undefined): Readonly<Record<string, string | undefined>> {
  const entries = Object.entries(data ?? {}).map(([name, packed]) => [
    name,
    Buffer.from(packed, "base64").toString() || undefined,
  ]);
  return Object.fromEntries(entries) as Record<string, string | undefined>;
}
