import { createPrivateKey, X509Certificate } from "node:crypto";
import type { CertificateNames, KeyPair } from "./authority.ts";

/** A certificate is renewed when this share of its life is over. */
const usedShare = 2 / 3;

/** Clocks differ; what is further in the future than this was made by one that was wrong. */
const aheadMs = 2 * 86_400_000;

/**
 * Why a certificate must be issued anew, in words; `undefined` while it is good. Whatever is kept may have been
 * damaged or changed by others: then it is issued anew too. `issuers` are one PEM text; `latest` is what the clock says
 * that is ahead of others, so that one which is behind takes nothing good for early.
 */
export function whyRenew(
  kept: Partial<KeyPair> | undefined,
  names: CertificateNames,
  issuers: string,
  at: number,
  latest = at,
): string | undefined {
  if (kept?.certificate === undefined || kept.key === undefined) return "there is none";
  const certificate = readCertificate(kept.certificate);
  if (certificate === undefined) return "it cannot be read";
  if (!isKeyOf(kept.key, certificate)) return "its key is not the one it was made for";
  if (!splitPem(issuers).some((pem) => isIssuedBy(certificate, pem))) return "another authority signs now";
  const missing = missingName(certificate, names);
  if (missing !== undefined) return `it is not for ${missing}`;
  if (isAhead(certificate.validFromDate.getTime(), latest)) return `it does not hold before ${certificate.validFrom}`;
  if (at >= renewAt(certificate)) return `two thirds of its life are over; it ends ${certificate.validTo}`;
  return undefined;
}

/** When a certificate is due to be issued anew, in milliseconds since the epoch. */
export function renewAt(certificate: Pick<X509Certificate, "validFromDate" | "validToDate">): number {
  const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  return from + (to - from) * usedShare;
}

/** Whether only a clock that was far ahead can have told this moment. */
export function isAhead(moment: number, latest: number): boolean {
  return moment > latest + aheadMs;
}

/** The first certificate of a PEM text, or undefined. */
export function readCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

/** The certificates of a PEM text, each with its line break. */
export function splitPem(text: string): readonly string[] {
  return (text.match(onePem) ?? []).map((pem) => `${pem}\n`);
}

const onePem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function isIssuedBy(certificate: X509Certificate, issuerPem: string): boolean {
  const issuer = readCertificate(issuerPem);
  return issuer !== undefined && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** Whether a certificate was made for the key. */
export function isKeyOf(key: string, certificate: X509Certificate): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** The first name or use that is asked for and not in the certificate. */
function missingName(certificate: X509Certificate, names: CertificateNames): string | undefined {
  if (certificate.subject !== `CN=${names.commonName}`) return names.commonName;
  const known = new Set((certificate.subjectAltName ?? "").split(", "));
  const missing =
    names.dnsNames?.find((name) => !known.has(`DNS:${name}`)) ??
    names.uris?.find((uri) => !known.has(`URI:${uri}`)) ??
    names.ipAddresses?.find((address) => certificate.checkIP(address) === undefined);
  if (missing !== undefined) return missing;
  const uses = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;
  const granted = new Set(certificate.keyUsage);
  return names.usages.find((usage) => !granted.has(uses[usage]));
}
