import { isRecord } from "@bpfleet/base";
import { bundleFromJSON } from "@sigstore/bundle";
import { toSignedEntity } from "@sigstore/verify";
import type { SignedEntity } from "@sigstore/verify";
import { hexOf } from "../digest.ts";
import type { Digest } from "../digest.ts";
import { parseJson } from "../image/manifest.ts";
import { signPredicate } from "./evidence.ts";

const statementTypes = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
const payloadType = "application/vnd.in-toto+json";

/** A bundle and what it claims to sign. Throws an `Error` with the reason when it is no signature of this digest. */
export function readBundle(bytes: Uint8Array, over: Digest): SignedEntity {
  const json = parseJson(bytes);
  if (json === undefined) throw new Error("it is not JSON");
  const bundle = bundleFromJSON(json);
  if (bundle.content.$case !== "dsseEnvelope") throw new Error("it signs a message, not a statement about an image");
  const envelope = bundle.content.dsseEnvelope;
  if (envelope.payloadType !== payloadType)
    throw new Error(`its payload is of type ${JSON.stringify(envelope.payloadType)}, not ${payloadType}`);
  if (envelope.signatures.length !== 1) throw new Error(`it has ${envelope.signatures.length} signatures, not one`);
  checkStatement(envelope.payload, over);
  return toSignedEntity(bundle);
}

/** The statement is read from the very bytes that the signature is over. */
function checkStatement(payload: Uint8Array, over: Digest): void {
  const statement = parseJson(payload);
  if (statement === undefined || !statementTypes.includes(String(statement["_type"])))
    throw new Error("its payload is no in-toto statement");
  const { predicateType, subject } = statement;
  if (predicateType !== signPredicate)
    throw new Error(`it states ${JSON.stringify(predicateType)}, which is no signature (${signPredicate})`);
  const digests = (Array.isArray(subject) ? (subject as unknown[]) : []).map((each) => {
    const digest = isRecord(each) ? each["digest"] : undefined;
    return isRecord(digest) && typeof digest["sha256"] === "string" ? digest["sha256"] : "";
  });
  if (!digests.includes(hexOf(over)))
    throw new Error(`it signs ${digests.map((digest) => `sha256:${digest}`).join(", ") || "nothing"}, not ${over}`);
}
