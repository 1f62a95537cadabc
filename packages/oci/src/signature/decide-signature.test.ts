import assert from "node:assert/strict";
import { test } from "node:test";
import { isRecord } from "@bpfleet/base";
import { digestOf } from "../digest.ts";
import {
  acceptedIdentity,
  acceptedKey,
  bundleEvidence,
  readJsonFixture,
  releaseIssuer,
  releaseSubject,
  signedImage,
  simpleEvidence,
} from "../testing/fixtures.ts";
import { decideSignature } from "./decide-signature.ts";
import type { Evidence } from "./evidence.ts";
import type { Accepted } from "./policy.ts";

const { digest } = signedImage();

function decide(accept: Accepted, ...evidence: Evidence[]) {
  return decideSignature({ mode: "required", accept: [accept] }, [digest], evidence);
}

function reasonOf(accept: Accepted, ...evidence: Evidence[]): string {
  const outcome = decide(accept, ...evidence);
  assert.equal(outcome.state, "refused");
  return outcome.reason;
}

test("decideSignature names the key that signed, in both formats", () => {
  for (const evidence of [bundleEvidence("key.bundle.json", digest), simpleEvidence("key.sig.json", digest)]) {
    const outcome = decide(acceptedKey(), evidence);
    assert.equal(outcome.state, "verified", JSON.stringify(outcome));
    assert.equal(outcome.format, evidence.format);
    assert.equal(outcome.by.name, "release");
    assert.match(outcome.by.kind === "key" ? outcome.by.fingerprint : "", /^[0-9a-f]{64}$/);
  }
});

test("decideSignature names the identity that signed, in both formats", () => {
  for (const evidence of [bundleEvidence("keyless.bundle.json", digest), simpleEvidence("keyless.sig.json", digest)]) {
    const outcome = decide(acceptedIdentity(), evidence);
    assert.deepEqual(outcome, {
      state: "verified",
      by: { kind: "identity", name: "release workflow", issuer: releaseIssuer, subject: releaseSubject },
      format: evidence.format,
    });
  }
});

test("decideSignature takes a pattern for all of the subject", () => {
  const evidence = bundleEvidence("keyless.bundle.json", digest);
  const pattern = (subject: RegExp) => decide(acceptedIdentity({ subject }), evidence).state;
  assert.equal(pattern(/https:\/\/github\.com\/example\/bytecode\/.*@refs\/tags\/v\d+/u), "verified");
  assert.equal(pattern(/https:\/\/github\.com\/example\//u), "refused");
  assert.equal(pattern(/example|other/u), "refused");
});

test("decideSignature refuses another key", () => {
  for (const evidence of [bundleEvidence("key.bundle.json", digest), simpleEvidence("key.sig.json", digest)])
    assert.match(reasonOf(acceptedKey("other.pub"), evidence), /by key release: signature verification failed/);
});

test("decideSignature refuses another identity", () => {
  const evidence = bundleEvidence("keyless.bundle.json", digest);
  assert.match(
    reasonOf(acceptedIdentity({ issuer: "https://accounts.google.com" }), evidence),
    /its issuer is https:\/\/token\.actions\.githubusercontent\.com, not https:\/\/accounts\.google\.com/,
  );
  assert.match(reasonOf(acceptedIdentity({ subject: "me@example.com" }), evidence), /its subject is https:.*, not me@/);
});

test("decideSignature refuses what an unknown authority issued", () => {
  const trustedRoot = readJsonFixture("other-trusted-root.json");
  for (const evidence of [bundleEvidence("keyless.bundle.json", digest), simpleEvidence("keyless.sig.json", digest)])
    assert.match(reasonOf(acceptedIdentity({ trustedRoot }), evidence), /by identity release workflow: .*\([A-Z_]+\)$/);
});

test("decideSignature refuses a log, a certificate log or a time that it does not know", () => {
  const known = readJsonFixture("trusted-root.json");
  const other = readJsonFixture("other-trusted-root.json");
  const evidence = bundleEvidence("keyless.bundle.json", digest);
  for (const part of ["tlogs", "ctlogs", "timestampAuthorities", "certificateAuthorities"]) {
    const trustedRoot = { ...known, [part]: other[part] };
    assert.equal(decide(acceptedIdentity({ trustedRoot }), evidence).state, "refused", part);
  }
});

test("decideSignature refuses a signature over another digest", () => {
  for (const name of ["wrong-subject.bundle.json", "wrong-subject.sig.json"]) {
    const evidence = name.includes("bundle") ? bundleEvidence(name, digest) : simpleEvidence(name, digest);
    assert.match(reasonOf(acceptedKey(), evidence), /it signs sha256:[0-9a-f]{64}, not sha256:/);
  }
});

test("decideSignature counts no evidence that was found under another digest", () => {
  const elsewhere = digestOf(Buffer.from("elsewhere"));
  const evidence = { ...bundleEvidence("key.bundle.json", digest), over: elsewhere };
  assert.equal(decide(acceptedKey(), evidence).state, "unsigned");
});

test("decideSignature takes no attestation for a signature", () => {
  assert.match(
    reasonOf(acceptedKey(), bundleEvidence("attestation.bundle.json", digest)),
    /it states "https:\/\/slsa\.dev\/provenance\/v1", which is no signature/,
  );
});

test("decideSignature refuses a bundle with any byte of its payload or signature flipped", () => {
  const json = readJsonFixture("key.bundle.json");
  const envelope = json["dsseEnvelope"];
  assert.ok(isRecord(envelope));
  const payload = Buffer.from(String(envelope["payload"]), "base64");
  for (let at = 0; at < payload.length; at += 7) {
    const changed = Buffer.from(payload);
    changed[at] = (changed[at] ?? 0) ^ 1;
    const text: string = JSON.stringify({
      ...json,
      dsseEnvelope: { ...envelope, payload: changed.toString("base64") },
    });
    assert.equal(
      decide(acceptedKey(), { ...bundleEvidence("key.bundle.json", digest), bytes: Buffer.from(text) }).state,
      "refused",
    );
  }
  const [{ sig } = { sig: "" }] = envelope["signatures"] as { sig: string }[];
  const signature = Buffer.from(sig, "base64");
  for (let at = 0; at < signature.length; at++) {
    const changed = Buffer.from(signature);
    changed[at] = (changed[at] ?? 0) ^ 1;
    const text: string = JSON.stringify({
      ...json,
      dsseEnvelope: { ...envelope, signatures: [{ sig: changed.toString("base64") }] },
    });
    assert.equal(
      decide(acceptedKey(), { ...bundleEvidence("key.bundle.json", digest), bytes: Buffer.from(text) }).state,
      "refused",
    );
  }
});

test("decideSignature refuses simplesigning with any byte of its payload flipped", () => {
  const evidence = simpleEvidence("key.sig.json", digest);
  for (let at = 0; at < evidence.bytes.length; at += 5) {
    const bytes = Buffer.from(evidence.bytes);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    assert.equal(decide(acceptedKey(), { ...evidence, bytes }).state, "refused");
  }
});

test("decideSignature asks a key for its log entry when the policy does", () => {
  const accepted = acceptedKey("release.pub", {
    needsTransparencyLog: true,
    trustedRoot: readJsonFixture("trusted-root.json"),
  });
  assert.match(reasonOf(accepted, bundleEvidence("key.bundle.json", digest)), /expected 1 tlog entries, got 0/);
});

test("decideSignature takes neither a certificate for a key nor a key for a certificate", () => {
  assert.match(
    reasonOf(acceptedKey(), bundleEvidence("keyless.bundle.json", digest)),
    /with a certificate, not with a key/,
  );
  assert.match(
    reasonOf(acceptedIdentity(), bundleEvidence("key.bundle.json", digest)),
    /with a key, not with a certificate/,
  );
});

test("decideSignature finds the good signature among bad ones", () => {
  const evidence = [
    { ...bundleEvidence("key.bundle.json", digest), bytes: Buffer.from("{") },
    bundleEvidence("wrong-subject.bundle.json", digest),
    bundleEvidence("key.bundle.json", digest),
  ];
  assert.equal(decide(acceptedKey(), ...evidence).state, "verified");
  const outcome = decide(acceptedKey("other.pub"), ...evidence);
  assert.equal(outcome.state === "refused" ? outcome.attempts.length : 0, 3);
});

test("decideSignature says that nothing signs, and looks at nothing where the policy is off", () => {
  assert.deepEqual(decide(acceptedKey()), { state: "unsigned", reason: `nothing signs ${digest}` });
  const outcome = decideSignature({ mode: "off", accept: [] }, [digest], [bundleEvidence("key.bundle.json", digest)]);
  assert.equal(outcome.state, "not-checked");
});

test("decideSignature survives any garbage", () => {
  const texts = [
    "",
    "null",
    "[]",
    "{}",
    '{"mediaType":1}',
    '{"critical":{}}',
    "\u0000".repeat(1000),
    '{"dsseEnvelope":{"payload":"e30="}}',
  ];
  for (const text of texts)
    for (const format of ["bundle", "simplesigning"] as const) {
      const annotations = { "dev.cosignproject.cosign/signature": text, "dev.sigstore.cosign/certificate": text };
      const outcome = decide(acceptedKey(), { format, bytes: Buffer.from(text), over: digest, annotations });
      assert.equal(outcome.state, "refused");
    }
});
