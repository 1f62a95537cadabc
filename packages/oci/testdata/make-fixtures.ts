/**
 * Makes the signed fixtures beside it, once: they are committed, and the keys that signed them are thrown away.
 *
 *     npm install --no-save --ignore-scripts --prefix build/mock @sigstore/mock@0.13.0
 *     node packages/oci/testdata/make-fixtures.ts
 *
 * The mock plays Fulcio, Rekor, the certificate log and the timestamp authority of Sigstore.
 */
import { spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildImage, renderLayout } from "../src/mod.ts";

const root = join(import.meta.dirname, "../../..");
const mock = createRequire(join(root, "build/mock/package.json"))("@sigstore/mock");
// Later than the certificates that the mock makes while this runs.
const clock = new Date(Math.floor(Date.now() / 1000) * 1000 + 10_000);
const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest();
const write = (name: string, content: string | Uint8Array) => writeFileSync(join(import.meta.dirname, name), content);
const writeJson = (name: string, value: unknown) => write(name, `${JSON.stringify(value, undefined, 2)}\n`);
const newKey = (namedCurve = "P-256") => generateKeyPairSync("ec", { namedCurve });
const pemOf = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString();

function compile(): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), "fixture-"));
  try {
    const output = join(directory, "pass.bpf.o");
    const flags = "-target bpf -mcpu=v3 -O2 -g -fdebug-compilation-dir=. -I build/include".split(" ");
    const include = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    const args = [...flags, "-I", include, "-c", "packages/oci/testdata/pass.bpf.c", "-o", output];
    const { status, stderr } = spawnSync("clang", args, { cwd: root, encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
    spawnSync("llvm-strip", ["-g", output]);
    return readFileSync(output);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const predicateType = "https://sigstore.dev/cosign/sign/v1";

function statement(digest: string, type = predicateType): Buffer {
  return Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ name: "quay.io/bpfd-bytecode/xdp_pass", digest: { sha256: digest.replace("sha256:", "") } }],
      predicateType: type,
      predicate: {},
    }),
  );
}

const payloadType = "application/vnd.in-toto+json";

function signEnvelope(payload: Buffer, key: KeyObject) {
  const encoded = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
    payload,
  ]);
  const signature = sign("sha256", encoded, key);
  const sig = signature.toString("base64");
  return { signature, envelope: { payload: payload.toString("base64"), payloadType, signatures: [{ sig }] } };
}

function bundle(verificationMaterial: object, envelope: object): object {
  return { mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", verificationMaterial, dsseEnvelope: envelope };
}

function simplePayload(digest: string): Buffer {
  const critical = {
    identity: { "docker-reference": "quay.io/bpfd-bytecode/xdp_pass" },
    image: { "docker-manifest-digest": digest },
    type: "cosign container image signature",
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

const object = compile();
const image = buildImage({
  object,
  labels: {
    programType: "xdp",
    filename: "pass.bpf.o",
    programName: "pass",
    functionName: "pass",
    sectionName: "pass",
    programs: { pass: "xdp" },
    maps: { passed: "per_cpu_array" },
  },
});
write("xdp_pass.oci.tar", renderLayout(image, "quay.io/bpfd-bytecode/xdp_pass:latest"));
const otherDigest = `sha256:${sha256("another image").toString("hex")}`;

// By key.
const key = newKey();
const hint = sha256(key.publicKey.export({ type: "spki", format: "der" })).toString("base64");
write("release.pub", pemOf(key.publicKey));
write("other.pub", pemOf(newKey().publicKey));
const byKey = (payload: Buffer) => bundle({ publicKey: { hint } }, signEnvelope(payload, key.privateKey).envelope);
writeJson("key.bundle.json", byKey(statement(image.digest)));
writeJson("wrong-subject.bundle.json", byKey(statement(otherDigest)));
writeJson("attestation.bundle.json", byKey(statement(image.digest, "https://slsa.dev/provenance/v1")));
const simple = (digest: string) => {
  const payload = simplePayload(digest);
  const signature = sign("sha256", payload, key.privateKey).toString("base64");
  return { payload: payload.toString(), annotations: { "dev.cosignproject.cosign/signature": signature } };
};
writeJson("key.sig.json", simple(image.digest));
writeJson("wrong-subject.sig.json", simple(otherDigest));

// By identity.
async function authority() {
  const [caKey, ctKey, logKey, tsaKey] = [newKey(), newKey(), newKey(), newKey()];
  const ctLog = await mock.initializeCTLog(ctKey, clock);
  const ca = await mock.initializeCA(caKey, ctLog, clock);
  const log = await mock.initializeTLog("https://rekor.example.com", logKey, clock);
  const tsa = await mock.initializeTSA(tsaKey, clock);
  const validFor = { start: new Date(clock.getTime() - 60_000).toISOString() };
  const raw = (bytes: Uint8Array) => ({ rawBytes: Buffer.from(bytes).toString("base64") });
  const logOf = (baseUrl: string, spki: Uint8Array) => ({
    baseUrl,
    hashAlgorithm: "SHA2_256",
    publicKey: { ...raw(spki), keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor },
    logId: { keyId: sha256(spki).toString("base64") },
  });
  const authorityOf = (uri: string, certificates: readonly Uint8Array[]) => ({
    subject: { organization: "example", commonName: "example" },
    uri,
    certChain: { certificates: certificates.map(raw) },
    validFor,
  });
  const trustedRoot = {
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    tlogs: [logOf("https://rekor.example.com", log.publicKey)],
    certificateAuthorities: [authorityOf("https://fulcio.example.com", [ca.rootCertificate])],
    ctlogs: [logOf("https://ctfe.example.com", ctLog.publicKey)],
    timestampAuthorities: [authorityOf("https://tsa.example.com", [tsa.intCertificate, tsa.rootCertificate])],
  };
  return { ca, log, tsa, trustedRoot };
}

const trusted = await authority();
writeJson("trusted-root.json", trusted.trustedRoot);
writeJson("other-trusted-root.json", (await authority()).trustedRoot);

const issuer = "https://token.actions.githubusercontent.com";
const subject = "https://github.com/example/bytecode/.github/workflows/release.yaml@refs/tags/v1";
const signer = newKey();
const leaf: Uint8Array = await trusted.ca.issueCertificate({
  publicKey: signer.publicKey.export({ type: "spki", format: "der" }),
  subjectAltName: subject,
  extensions: [{ oid: "1.3.6.1.4.1.57264.1.8", value: issuer }],
});
const leafPem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(leaf).toString("base64").replaceAll(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;

const { signature, envelope } = signEnvelope(statement(image.digest), signer.privateKey);
const [logged] = Object.values<any>(
  await trusted.log.log({
    apiVersion: "0.0.1",
    kind: "dsse",
    spec: {
      envelopeHash: { algorithm: "sha256", value: sha256(JSON.stringify(envelope)).toString("hex") },
      payloadHash: { algorithm: "sha256", value: sha256(Buffer.from(envelope.payload, "base64")).toString("hex") },
      signatures: [{ signature: signature.toString("base64"), verifier: Buffer.from(leafPem).toString("base64") }],
    },
  }),
);
const stamp: Uint8Array = await trusted.tsa.timestamp({
  artifactHash: sha256(signature),
  hashAlgorithmOID: "2.16.840.1.101.3.4.2.1",
  nonce: 1,
  policyOID: "1.3.6.1.4.1.57264.2",
  certReq: false,
});
const { inclusionProof, signedEntryTimestamp } = logged.verification;
writeJson(
  "keyless.bundle.json",
  bundle(
    {
      certificate: { rawBytes: Buffer.from(leaf).toString("base64") },
      tlogEntries: [
        {
          logIndex: String(logged.logIndex),
          logId: { keyId: Buffer.from(logged.logID, "hex").toString("base64") },
          kindVersion: { kind: "dsse", version: "0.0.1" },
          integratedTime: String(logged.integratedTime),
          inclusionPromise: { signedEntryTimestamp },
          inclusionProof: {
            logIndex: "0",
            rootHash: Buffer.from(inclusionProof.rootHash, "hex").toString("base64"),
            treeSize: "1",
            hashes: [],
            checkpoint: { envelope: inclusionProof.checkpoint },
          },
          canonicalizedBody: logged.body,
        },
      ],
      timestampVerificationData: {
        rfc3161Timestamps: [{ signedTimestamp: Buffer.from(stamp).toString("base64") }],
      },
    },
    envelope,
  ),
);

const payload = simplePayload(image.digest);
const simpleSignature = sign("sha256", payload, signer.privateKey);
const [simpleLogged] = Object.values<any>(
  await trusted.log.log({
    apiVersion: "0.0.1",
    kind: "hashedrekord",
    spec: {
      data: { hash: { algorithm: "sha256", value: sha256(payload).toString("hex") } },
      signature: {
        content: simpleSignature.toString("base64"),
        publicKey: { content: Buffer.from(leafPem).toString("base64") },
      },
    },
  }),
);
writeJson("keyless.sig.json", {
  payload: payload.toString(),
  annotations: {
    "dev.cosignproject.cosign/signature": simpleSignature.toString("base64"),
    "dev.sigstore.cosign/certificate": leafPem,
    "dev.sigstore.cosign/bundle": JSON.stringify({
      SignedEntryTimestamp: simpleLogged.verification.signedEntryTimestamp,
      Payload: {
        body: simpleLogged.body,
        integratedTime: simpleLogged.integratedTime,
        logIndex: simpleLogged.logIndex,
        logID: simpleLogged.logID,
      },
    }),
  },
});
