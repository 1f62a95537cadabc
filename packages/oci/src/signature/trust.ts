import { createHash, createPublicKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { toTrustMaterial, Verifier } from "@sigstore/verify";
import type { SignedEntity } from "@sigstore/verify";
import type { Signer } from "../bytecode.ts";
import type { JsonObject } from "../json-object.ts";
import type { Accepted, AcceptedIdentity, AcceptedKey } from "./policy.ts";

/** Says who signed, or throws an `Error` whose message says why nobody who is accepted did. */
export function verifyEntity(entity: SignedEntity, accepted: Accepted): Signer {
  return accepted.kind === "key" ? verifyByKey(entity, accepted) : verifyByIdentity(entity, accepted);
}

function verifyByKey(entity: SignedEntity, accepted: AcceptedKey): Signer {
  if (entity.key.$case !== "public-key") throw new Error("it is signed with a certificate, not with a key");
  const publicKey = createPublicKey(accepted.pem);
  const material = toTrustMaterial(readRoot(accepted.trustedRoot ?? {}), () => ({ publicKey, validFor: () => true }));
  const threshold = accepted.needsTransparencyLog ? 1 : 0;
  const verifier = new Verifier(material, { tlogThreshold: threshold, ctlogThreshold: 0, timestampThreshold: 0 });
  // Who asks for no log has no log's key: an entry could not be verified, and decides nothing.
  verifier.verify(accepted.needsTransparencyLog ? entity : { ...entity, tlogEntries: [], timestamps: [] });
  return { kind: "key", name: accepted.name, fingerprint: fingerprintOf(publicKey) };
}

function verifyByIdentity(entity: SignedEntity, accepted: AcceptedIdentity): Signer {
  if (entity.key.$case !== "certificate") throw new Error("it is signed with a key, not with a certificate");
  const material = toTrustMaterial(readRoot(accepted.trustedRoot), () => {
    throw new Error("it is signed with a key, not with a certificate");
  });
  const { identity } = new Verifier(material, {
    tlogThreshold: accepted.needsTransparencyLog ? 1 : 0,
    ctlogThreshold: accepted.needsCertificateLog ? 1 : 0,
    // A certificate lives for minutes: without a time that is proven it proves nothing.
    timestampThreshold: 1,
  }).verify(entity);
  const issuer = identity?.extensions?.issuer ?? "";
  const subject = identity?.subjectAlternativeName ?? "";
  if (issuer !== accepted.issuer) throw new Error(`its issuer is ${issuer || "not named"}, not ${accepted.issuer}`);
  if (!matchesSubject(accepted.subject, subject))
    throw new Error(`its subject is ${subject || "not named"}, not ${renderSubject(accepted.subject)}`);
  return { kind: "identity", name: accepted.name, issuer, subject };
}

/** A pattern must match all of the subject, as it would with ^ and $ around it. */
function matchesSubject(wanted: string | RegExp, subject: string): boolean {
  return typeof wanted === "string"
    ? wanted === subject
    : new RegExp(`^(?:${wanted.source})$`, wanted.flags).test(subject);
}

function renderSubject(subject: string | RegExp): string {
  return typeof subject === "string" ? subject : `of the form ${subject.source}`;
}

/** sha256 over the key's SubjectPublicKeyInfo, in hexadecimal. */
function fingerprintOf(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("hex");
}

function readRoot(json: JsonObject): TrustedRoot {
  return TrustedRoot.fromJSON(json);
}
