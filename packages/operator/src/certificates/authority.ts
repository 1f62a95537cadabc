// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs what it adds to Reflect
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { Extension, JsonGeneralName } from "@peculiar/x509";

/** A certificate with its key, both PEM; the key is PKCS #8. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** A key pair that may sign others. */
export type Authority = KeyPair;

export interface Lifetime {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly days: number;
}

/** Who a certificate is for, and what it may be used for. */
export interface CertificateNames {
  readonly commonName: string;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  /** Such as `bpfleet://daemon`. */
  readonly uris?: readonly string[];
  readonly usages: readonly ("server" | "client")[];
}

/** Clocks of nodes differ: a certificate holds from this much before it was made. */
const backdatedMs = 3_600_000;
const dayMs = 86_400_000;
const keys = { name: "ECDSA", namedCurve: "P-256" } as const;
const signing = { name: "ECDSA", hash: "SHA-256" } as const;
const usages = { server: ExtendedKeyUsage.serverAuth, client: ExtendedKeyUsage.clientAuth } as const;

/** Makes an authority of its own: an ECDSA P-256 key and a certificate that signs nothing but leaves. */
export async function makeAuthority(commonName: string, lifetime: Lifetime): Promise<Authority> {
  const pair = await webcrypto.subtle.generateKey(keys, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: [{ CN: [commonName] }],
      keys: pair,
      signingAlgorithm: signing,
      notBefore: new Date(lifetime.at - backdatedMs),
      notAfter: new Date(lifetime.at + lifetime.days * dayMs),
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(pair.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certificate: withEnd(certificate.toString("pem")), key: await exportKey(pair.privateKey) };
}

/** Issues a certificate with a new key. It never outlives the authority. */
export async function issueCertificate(
  authority: Authority,
  names: CertificateNames,
  lifetime: Lifetime,
): Promise<KeyPair> {
  const issuer = new X509Certificate(authority.certificate);
  const pair = await webcrypto.subtle.generateKey(keys, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.create(
    {
      subject: [{ CN: [names.commonName] }],
      issuer: issuer.subjectName,
      publicKey: pair.publicKey,
      signingKey: await importKey(authority.key),
      signingAlgorithm: signing,
      notBefore: new Date(Math.max(lifetime.at - backdatedMs, issuer.notBefore.getTime())),
      notAfter: new Date(Math.min(lifetime.at + lifetime.days * dayMs, issuer.notAfter.getTime())),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension(names.usages.map((usage) => usages[usage])),
        ...alternativeNames(names),
        await SubjectKeyIdentifierExtension.create(pair.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(issuer, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { certificate: withEnd(certificate.toString("pem")), key: await exportKey(pair.privateKey) };
}

function alternativeNames({ dnsNames = [], ipAddresses = [], uris = [] }: CertificateNames): readonly Extension[] {
  const names: readonly JsonGeneralName[] = [
    ...dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...ipAddresses.map((value) => ({ type: "ip" as const, value })),
    ...uris.map((value) => ({ type: "url" as const, value })),
  ];
  return names.length === 0 ? [] : [new SubjectAlternativeNameExtension([...names])];
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return withEnd(PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY"));
}

function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey("pkcs8", PemConverter.decodeFirst(pem), keys, false, ["sign"]);
}

/** Bundles are made by putting certificates after each other. */
function withEnd(pem: string): string {
  return pem.endsWith("\n") ? pem : `${pem}\n`;
}
