import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { FetchRequest } from "./fetch-request.ts";
import { fetchBytecode } from "./fetch-bytecode.ts";
import { mediaTypes } from "./image/manifest.ts";
import { pushImage } from "./image/push-image.ts";
import { openBytecode } from "./open-bytecode.ts";
import { Credential, noCredentials } from "./registry/credentials.ts";
import { openPolicy } from "./signature/policy.ts";
import type { ImagePolicy, SignatureMode } from "./signature/policy.ts";
import { makeCertificate } from "./testing/certificates.ts";
import { acceptedIdentity, acceptedKey, bundleEvidence, signedImage, simpleEvidence } from "./testing/fixtures.ts";
import { credentialsFor, openClient, pushEvidence, RegistryBench } from "./testing/registry-bench.ts";
import { registryAbsence, RegistryProcess } from "./testing/registry-process.ts";
import { identityToken, startTokenServer } from "./testing/token-server.ts";

const documented = "quay.io/bpfd-bytecode/xdp_pass:latest";
const image = signedImage();
const skip = registryAbsence() ?? false;

function policy(mode: SignatureMode, ...accept: ImagePolicy["default"]["accept"]): ImagePolicy {
  return { rules: [{ images: ["quay.io/bpfd-bytecode/*"], mode, accept }], default: { mode: "off", accept: [] } };
}

/** A registry with TLS and a password that holds the documented image for quay.io. */
async function withRegistry(
  run: (bench: RegistryBench, registry: RegistryProcess, request: FetchRequest) => Promise<void>,
): Promise<void> {
  using bench = new RegistryBench();
  await using registry = await RegistryProcess.start(bench.directory, bench.tls, "basic");
  bench.mirror("quay.io", [`https://${registry.host}`]);
  const auth = credentialsFor(registry.host);
  await using client = await openClient(documented, "push", bench, auth);
  await pushImage(client, image, "latest");
  await run(bench, registry, {
    reference: documented,
    policy: openPolicy,
    auth,
    mirrors: bench.mirrors,
    store: bench.store,
  });
}

test("fetchBytecode pulls a documented name from a mirror with TLS and a password", { skip }, async () => {
  await withRegistry(async (bench, registry, request) => {
    const pulled = await fetchBytecode({ ...request, reference: `image://${documented}` });
    assert.equal(pulled.reference, documented);
    assert.equal(pulled.digest, image.digest);
    assert.equal(pulled.labels.sectionName, "pass");
    assert.deepEqual(pulled.labels.maps, { passed: "per_cpu_array" });
    assert.equal(pulled.signature.state, "not-checked");
    assert.deepEqual([pulled.from, pulled.warnings], ["registry", []]);
    assert.deepEqual(await openBytecode(bench.store, pulled.objectDigest), pulled.bytes);
    const byDigest = await fetchBytecode({ ...request, reference: `quay.io/bpfd-bytecode/xdp_pass@${image.digest}` });
    assert.equal(byDigest.objectDigest, pulled.objectDigest);

    await registry[Symbol.asyncDispose]();
    const again = await fetchBytecode(request);
    assert.deepEqual({ ...again, from: "registry" }, pulled);
    assert.equal((await fetchBytecode({ ...request, pullPolicy: "Never" })).from, "store");
    await assert.rejects(fetchBytecode({ ...request, pullPolicy: "Always" }), {
      code: "registry-unreachable",
      message: `pull manifest latest of quay.io/bpfd-bytecode/xdp_pass from ${registry.host}: not reachable (ECONNREFUSED); check the host and the network, or serve it from a mirror`,
    });
  });
});

test("fetchBytecode says what was asked, of whom, what it said and what helps", { skip }, async () => {
  await withRegistry(async (bench, { host }, request) => {
    const fails = (more: Partial<FetchRequest>, code: string, message: string) =>
      assert.rejects(fetchBytecode({ ...request, ...more }), { name: "ImageError", code, message });
    const start = `pull manifest latest of quay.io/bpfd-bytecode/xdp_pass from ${host}`;
    await fails(
      { auth: noCredentials },
      "unauthorized",
      `${start}: 401 UNAUTHORIZED (authentication required); give a pull secret for ${host}`,
    );
    await fails(
      { auth: credentialsFor(host, "wrong") },
      "unauthorized",
      `${start}: 401 UNAUTHORIZED (authentication required); the pull secret for ${host} does not allow it; check its user, its password and what it may read`,
    );
    await fails(
      { reference: "quay.io/bpfd-bytecode/xdp_pass:v9" },
      "image-not-found",
      `pull manifest v9 of quay.io/bpfd-bytecode/xdp_pass from ${host}: 404 MANIFEST_UNKNOWN (manifest unknown); check the repository and the tag`,
    );
    await fails(
      { pullPolicy: "Never" },
      "image-not-found",
      `find ${documented}: it is not in ${bench.store.directory} and the pull policy is Never; pull it first, or use IfNotPresent`,
    );
    await fails(
      { mirrors: "/nonexistent", reference: `${host}/bpfd-bytecode/xdp_pass` },
      "certificate-untrusted",
      `pull manifest latest of ${host}/bpfd-bytecode/xdp_pass from ${host}: its certificate is not trusted (DEPTH_ZERO_SELF_SIGNED_CERT); name the CA that signed it as \`ca\` in the hosts.toml of this host`,
    );
    bench.mirror("quay.io", [`http://${host}`]);
    await assert.rejects(fetchBytecode(request), { code: "registry-refused", message: /400/ });
  });
});

test("fetchBytecode never tells a password, however it fails", { skip }, async () => {
  await withRegistry(async (_bench, { host }, request) => {
    const auth = credentialsFor(host, "wrong-hunter2");
    const error = await fetchBytecode({ ...request, auth }).catch((cause: unknown) => cause);
    const { inspect } = await import("node:util");
    assert.doesNotMatch(inspect(error, { depth: 20, showHidden: true }), /hunter2|d3JvbmctaHVudGVyMg/);
  });
});

test("fetchBytecode takes a token with a password and with an identity token", { skip }, async () => {
  using bench = new RegistryBench();
  const signer = makeCertificate(bench.directory, "signer");
  await using tokens = await startTokenServer(bench, signer);
  const auth = { realm: `https://${tokens.host}/token`, trusts: signer.cert };
  await using registry = await RegistryProcess.start(bench.directory, bench.tls, auth);
  bench.mirror("quay.io", [`https://${registry.host}`]);
  const byPassword = credentialsFor(registry.host);
  await using client = await openClient(documented, "push", bench, byPassword);
  await pushImage(client, image, "latest");
  const byToken = new Map([[registry.host, new Credential("<token>", identityToken, { isIdentityToken: true })]]);
  const request = {
    reference: documented,
    policy: openPolicy,
    mirrors: bench.mirrors,
    store: bench.store,
    pullPolicy: "Always",
  } as const;
  for (const credentials of [byPassword, byToken])
    assert.equal((await fetchBytecode({ ...request, auth: credentials })).digest, image.digest);
  await assert.rejects(fetchBytecode({ ...request, auth: credentialsFor(registry.host, "wrong") }), {
    code: "unauthorized",
    message: new RegExp(
      `^get a token for pull manifest latest of quay\\.io/bpfd-bytecode/xdp_pass from ${registry.host}.*: 401 UNAUTHORIZED \\(incorrect username or password\\); the pull secret`,
    ),
  });
});

test("fetchBytecode gives what a key or an identity signed, and refuses what none did", { skip }, async () => {
  await withRegistry(async (bench, registry, request) => {
    const byKey = policy("required", acceptedKey());
    const unsigned = {
      code: "signature-refused",
      message: `verify ${documented} (${image.digest}): unsigned: nothing signs ${image.digest}; sign it with a key or identity that the image policy of this node accepts`,
    };
    await assert.rejects(fetchBytecode({ ...request, policy: byKey }), unsigned);
    assert.deepEqual(await bench.store.listImages(), []);

    const warned = await fetchBytecode({ ...request, policy: policy("warn", acceptedKey()) });
    assert.deepEqual([warned.signature.state, warned.warnings.length], ["unsigned", 1]);
    await assert.rejects(fetchBytecode({ ...request, policy: byKey, pullPolicy: "Never" }), unsigned);

    await using client = await openClient(documented, "push", bench, request.auth ?? noCredentials);
    await pushEvidence(client, bundleEvidence("key.bundle.json", image.digest));
    await pushEvidence(client, simpleEvidence("keyless.sig.json", image.digest));
    const signed = await fetchBytecode({ ...request, policy: byKey });
    assert.deepEqual([signed.signature.state, signed.from], ["verified", "registry"]);

    await registry[Symbol.asyncDispose]();
    const offline = await fetchBytecode({ ...request, policy: byKey });
    assert.deepEqual([offline.signature, offline.from], [signed.signature, "store"]);
    const keyless = await fetchBytecode({ ...request, policy: policy("required", acceptedIdentity()) });
    assert.equal(keyless.signature.state === "verified" ? keyless.signature.by.kind : "", "identity");
    await assert.rejects(
      fetchBytecode({ ...request, policy: policy("required", acceptedKey("other.pub")), pullPolicy: "Never" }),
      {
        code: "signature-refused",
        message:
          /: refused: bundle 1 by key release: signature verification failed \(SIGNATURE_ERROR\) \(and 1 more\); sign it/,
      },
    );
  });
});

test("fetchBytecode takes a signature over the index for the image that it lists", { skip }, async () => {
  await withRegistry(async (bench, _registry, request) => {
    await using client = await openClient(documented, "push", bench, request.auth ?? noCredentials);
    const platform = { os: "linux", architecture: "amd64" };
    const entry = { mediaType: mediaTypes.manifest, digest: image.digest, size: image.manifest.length, platform };
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [entry] }));
    const digest = await client.pushManifest(index, mediaTypes.index, "multi");
    const reference = "quay.io/bpfd-bytecode/xdp_pass:multi";
    const pulled = await fetchBytecode({ ...request, reference, platform: "linux/amd64" });
    assert.equal(pulled.digest, image.digest);
    const [record] = await bench.store.listImages();
    assert.deepEqual([record?.root, record?.manifest], [digest, image.digest]);
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const critical = { image: { "docker-manifest-digest": digest }, type: "cosign container image signature" };
    const payload = Buffer.from(JSON.stringify({ critical }));
    const signature = sign("sha256", payload, privateKey).toString("base64");
    const annotations = { "dev.cosignproject.cosign/signature": signature };
    await pushEvidence(client, { format: "simplesigning", bytes: payload, over: digest, annotations });
    const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
    const signed = await fetchBytecode({
      ...request,
      reference,
      policy: policy("required", acceptedKey("release.pub", { pem })),
    });
    assert.equal(signed.signature.state, "verified");
  });
});

test("fetchBytecode pulls anew what was damaged in the store", { skip }, async () => {
  await withRegistry(async (bench, _registry, request) => {
    const { objectDigest } = await fetchBytecode(request);
    const blobs = join(bench.store.directory, "blobs/sha256");
    for (const name of readdirSync(blobs)) {
      const bytes = readFileSync(join(blobs, name));
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
      writeFileSync(join(blobs, name), bytes);
      const again = await fetchBytecode(request);
      assert.deepEqual([again.objectDigest, again.from], [objectDigest, "registry"]);
    }
  });
});

test("fetchBytecode asks the next mirror when one is down or has it not", { skip }, async () => {
  await withRegistry(async (bench, registry, request) => {
    await using empty = await bench.serve((_, response) => response.writeHead(404).end());
    bench.mirror("quay.io", ["https://127.0.0.1:1", `https://${empty.host}`, `https://${registry.host}`]);
    assert.equal((await fetchBytecode(request)).digest, image.digest);
    bench.mirror("quay.io", [`https://${empty.host}`, "https://127.0.0.1:1"]);
    await assert.rejects(fetchBytecode({ ...request, pullPolicy: "Always" }), {
      code: "registry-unreachable",
      message: /from 127\.0\.0\.1:1: not reachable \(ECONNREFUSED\).*\(1 other host of hosts\.toml had it neither\)$/,
      detail: /404[^]*ECONNREFUSED/,
    });
  });
});
