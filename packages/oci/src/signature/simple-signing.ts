import { createHash, X509Certificate } from "node:crypto";
import { isRecord } from "@bpfleet/base";
import { bundleFromJSON } from "@sigstore/bundle";
import { toSignedEntity } from "@sigstore/verify";
import type { SignedEntity } from "@sigstore/verify";
import type { Digest } from "../digest.ts";
import { parseJson } from "../image/manifest.ts";

const annotationNames = {
  signature: "dev.cosignproject.cosign/signature",
  certificate: "dev.sigstore.cosign/certificate",
  logEntry: "dev.sigstore.cosign/bundle",
  timestamp: "dev.sigstore.cosign/rfc3161timestamp",
} as const;

/**
 * A signature of older cosign (`sha256-<hex>.sig`) in the form of a bundle. Throws an `Error` with the
 * reason when it is no signature of this digest.
 */
export function readSimpleSigning(
  payload: Uint8Array,
  annotations: Readonly<Record<string, string>>,
  over: Digest,
): SignedEntity {
  checkPayload(payload, over);
  const signature = annotations[annotationNames.signature];
  if (signature === undefined || signature === "") throw new Error("its layer has no annotation with a signature");
  const digest = createHash("sha256").update(payload).digest("base64");
  const bundle = bundleFromJSON({
    mediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1",
    verificationMaterial: { ...signerOf(annotations), ...proofsOf(annotations) },
    messageSignature: { messageDigest: { algorithm: "SHA2_256", digest }, signature },
  });
  return toSignedEntity(bundle, Buffer.from(payload));
}

function checkPayload(payload: Uint8Array, over: Digest): void {
  const critical = parseJson(payload)?.["critical"];
  if (!isRecord(critical)) throw new Error("its payload is not of the form simplesigning");
  if (critical["type"] !== "cosign container image signature")
    throw new Error(
      `its payload is of type ${JSON.stringify(critical["type"])}, not "cosign container image signature"`,
    );
  const image = critical["image"];
  const digest = isRecord(image) ? image["docker-manifest-digest"] : undefined;
  if (digest !== over) throw new Error(`it signs ${typeof digest === "string" ? digest : "nothing"}, not ${over}`);
}

function signerOf(annotations: Readonly<Record<string, string>>): object {
  const pem = annotations[annotationNames.certificate];
  if (pem === undefined || pem === "") return { publicKey: { hint: "" } };
  const rawBytes = new X509Certificate(pem).raw.toString("base64");
  return { x509CertificateChain: { certificates: [{ rawBytes }] } };
}

function proofsOf(annotations: Readonly<Record<string, string>>): object {
  const entry = parseJson(Buffer.from(annotations[annotationNames.logEntry] ?? ""));
  const stamp = parseJson(Buffer.from(annotations[annotationNames.timestamp] ?? ""))?.["SignedRFC3161Timestamp"];
  const timestamps =
    typeof stamp === "string" ? { timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: stamp }] } } : {};
  return { tlogEntries: entry === undefined ? [] : [readLogEntry(entry)], ...timestamps };
}

function readLogEntry(entry: Readonly<Record<string, unknown>>): object {
  const { SignedEntryTimestamp: signedEntryTimestamp, Payload: payload } = entry;
  if (!isRecord(payload) || typeof signedEntryTimestamp !== "string") throw new Error("its log entry is incomplete");
  const { body, integratedTime, logIndex, logID } = payload;
  const kindVersion = parseJson(Buffer.from(String(body), "base64"));
  return {
    logIndex: String(logIndex),
    logId: { keyId: Buffer.from(String(logID), "hex").toString("base64") },
    kindVersion: { kind: String(kindVersion?.["kind"]), version: String(kindVersion?.["apiVersion"]) },
    integratedTime: String(integratedTime),
    inclusionPromise: { signedEntryTimestamp },
    canonicalizedBody: body,
  };
}
