import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  acceptedKey,
  bundleEvidence,
  registryUser,
  releaseSubject,
  signedImage,
  simpleEvidence,
  testdata,
} from "@bpfleet/oci/testing";
import { bytecodeAbsence, BytecodeNode, causeOf, imageOf, nodeName } from "./bytecode-node.ts";

const samples = join(import.meta.dirname, "../../packages/kinds/src/bpfd.io");
const sample = (path: string): string => readFileSync(join(samples, path), "utf8");
const signed = signedImage();

const policy = `apiVersion: bpfleet.io/v1alpha1
kind: ImagePolicy
trustedRoot: ${join(testdata, "trusted-root.json")}
default: { mode: off }
rules:
  - images: ["quay.io/**"]
    mode: required
    accept: { keys: [{ name: ${acceptedKey().name}, file: ${join(testdata, "release.pub")} }] }
  - images: ["registry.example/identity/**"]
    mode: required
    accept:
      identities:
        - issuer: https://token.actions.githubusercontent.com
          subject: ${releaseSubject}
  - images: ["registry.example/strangers/**"]
    mode: required
    accept:
      identities:
        - issuer: https://token.actions.githubusercontent.com
          subject: https://github.com/strangers/bytecode
`;

const config = (name: string, bytecode: string, more = ""): string => `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: ${name} }
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: eth0, priority: 50 } }
  bytecode: ${bytecode}
${more}`;

const fromPrivate = (repository: string): string =>
  `{ image: { url: "registry.example/${repository}", imagepullsecret: regcred } }`;

/** Documents show values that differ from node to node and from time to time. */
function withoutChance(yaml: string, bpffs: string): string {
  return yaml
    .replaceAll(/"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"/g, '"TIME"')
    .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "UUID")
    .replaceAll(/(generation: |resourceVersion: )"?\d+"?/g, "$1N")
    .replaceAll(bpffs, "/run/bpfd/fs");
}

/** What the document prints of one object, with the map that this image has and theirs had not. */
const documented = (kind: "BpfProgram" | "EbpfProgram", loaded: string): string => `- apiVersion: bpfd.io/v1alpha1
  kind: ${kind}
  metadata:
    creationTimestamp: "TIME"
    finalizers:
    - bpfd.io.agent/finalizer
    generation: N
    labels:
      owningConfig: xdp-pass-all-nodes
    name: xdp-pass-all-nodes-bpfd-deployment-worker2
    ownerReferences:
    - apiVersion: bpfd.io/v1alpha1
      blockOwnerDeletion: true
      controller: true
      kind: ${kind}Config
      name: xdp-pass-all-nodes
      uid: UUID
    resourceVersion: N
    uid: UUID
  spec:
    programs:
      UUID:
        attachpoint:
          interface: eth0
        maps:
          passed: /run/bpfd/fs/maps/UUID/passed
  status:
    conditions:
    - lastTransitionTime: "TIME"
      message: Successfully loaded ${loaded}
      reason: bpfdLoaded
      status: "True"
      type: Loaded
`;

describe("programs out of images", { skip: bytecodeAbsence ?? false }, async () => {
  if (bytecodeAbsence !== undefined) return;
  const node = await BytecodeNode.make(policy);
  after(() => node[Symbol.asyncDispose]());
  await node.node.up();

  it("are refused unsigned where the policy requires signatures, by name and without harm to traffic", async () => {
    await node.push("quay.io/bpfd-bytecode/xdp_pass:latest", signed);
    await node.apply(sample("bpfprogramconfig/samples/xdp-pass-all-nodes.yaml"));
    const refused = await node.current("xdp-pass-all-nodes", "NotLoaded");
    assert.equal(
      causeOf(refused),
      `verify quay.io/bpfd-bytecode/xdp_pass:latest (${signed.digest}): unsigned: nothing signs ${signed.digest}; sign it with a key or identity that the image policy of this node accepts`,
    );
    assert.deepEqual(refused.spec.programs, {});
    assert.equal(node.ping(3), 3);
    await node.remove("xdp-pass-all-nodes");
  });

  it("run as the documents declare them once they are signed", async () => {
    const evidence = [bundleEvidence("key.bundle.json", signed.digest), simpleEvidence("key.sig.json", signed.digest)];
    await node.push("quay.io/bpfd-bytecode/xdp_pass:latest", signed, ...evidence);
    await node.push("quay.io/bpfd/bytecode:xdp_pass", signed, ...evidence);
    await node.apply(sample("bpfprogramconfig/samples/xdp-pass-all-nodes.yaml"));
    await node.apply(sample("ebpfprogramconfig/samples/xdp-pass-all-nodes.yaml"));
    await node.current("xdp-pass-all-nodes", "Loaded");
    await node.current("xdp-pass-all-nodes", "Loaded", () => true, "EbpfProgram");
    assert.equal(node.ping(5), 5);
  });

  it("are told as the documents print them", async () => {
    for (const [plural, kind, loaded] of [
      ["bpfprograms", "BpfProgram", "BpfProgram"],
      ["ebpfprograms.bpfd.io", "EbpfProgram", "ebpfProgram"],
    ] as const) {
      const printed = withoutChance(await node.node.do("get", plural, "-o", "yaml"), node.node.bpffs);
      assert.ok(printed.includes(documented(kind, loaded)), printed);
    }
    const status = JSON.parse(await node.node.do("get", "bpfprogramconfig", "xdp-pass-all-nodes", "-o", "json")) as {
      status: { conditions: { type: string; reason: string; message: string; status: string }[] };
    };
    assert.deepEqual(
      status.status.conditions.map(({ type, reason, message, status }) => [type, reason, message, status]),
      [
        [
          "NotYetLoaded",
          "ProgramsNotYetLoaded",
          "Waiting for BpfProgramConfig Object to be reconciled to all nodes",
          "True",
        ],
        ["ReconcileSuccess", "ReconcileSuccess", "bpfProgramReconciliation Succeeded on all nodes", "True"],
      ],
    );
  });

  it("are made by the node alone: nobody applies or deletes a BpfProgram", async () => {
    const made = await node.node.do("get", "bpfprogram", `xdp-pass-all-nodes-${nodeName}`, "-o", "yaml");
    const { exitCode, err } = await node.node.run(["apply", "-f", "-"], made);
    assert.equal(exitCode, 1);
    assert.match(err, /BpfProgram.*(?:made|makes|read-only)/s);
    const { exitCode: code } = await node.node.run(["delete", "bpfprogram", `xdp-pass-all-nodes-${nodeName}`]);
    assert.equal(code, 1);
    await node.current("xdp-pass-all-nodes", "Loaded");
  });

  it("leave nothing when they are deleted", async () => {
    await node.remove("xdp-pass-all-nodes");
    await node.node.do("delete", "ebpfprogramconfig", "xdp-pass-all-nodes");
    await node.until("eth0 is free", () => !node.ip("-d", "link", "show", "eth0").includes("prog/xdp"));
    await node.until("no map is pinned", () => !existsSync(join(node.node.bpffs, "maps")));
  });

  it("are refused when a byte of the image was flipped, whoever signed it", async () => {
    const object = Buffer.from(signed.layer);
    const at = object.indexOf("Dual BSD/GPL");
    object[at + 12] = 1;
    const flipped = { ...signed, layer: object };
    await assert.rejects(node.push("quay.io/flipped/xdp_pass:latest", flipped), "a registry checks what is pushed");
    const other = imageOf(node.compile("owners"));
    const evidence = bundleEvidence("key.bundle.json", other.digest);
    await node.push("quay.io/flipped/xdp_pass:latest", other, evidence);
    await node.apply(config("flipped", "image://quay.io/flipped/xdp_pass:latest"));
    const refused = await node.current("flipped", "NotLoaded");
    assert.match(
      causeOf(refused),
      new RegExp(`^verify quay\\.io/flipped/xdp_pass:latest \\(${other.digest}\\): refused: `),
    );
    await node.remove("flipped");
  });

  it("are refused by another digest than the one that was asked for", async () => {
    const absent = `sha256:${"0".repeat(64)}`;
    await node.apply(config("by-digest", `image://quay.io/bpfd-bytecode/xdp_pass@${absent}`));
    assert.match(causeOf(await node.current("by-digest", "NotLoaded")), /xdp_pass.*404 MANIFEST_UNKNOWN/);
    await node.apply(config("by-digest", `image://quay.io/bpfd-bytecode/xdp_pass@${signed.digest}`));
    await node.current("by-digest", "Loaded");
    await node.remove("by-digest");
  });

  it("are pulled with a Secret of namespace bpfd, and signed by an identity", async () => {
    await node.push("registry.example/identity/xdp_pass:v1", signed, simpleEvidence("keyless.sig.json", signed.digest));
    await node.apply(config("xdp-pass-private-all-nodes", fromPrivate("identity/xdp_pass:v1")));
    const denied = await node.current("xdp-pass-private-all-nodes", "NotLoaded");
    assert.match(causeOf(denied), /401 UNAUTHORIZED/);
    const auth = Buffer.from(`${registryUser.username}:${registryUser.password}`).toString("base64");
    const json = JSON.stringify({ auths: { "127.0.0.1:5001": { auth } } });
    const started = performance.now();
    await node.apply(`apiVersion: v1
kind: Secret
type: kubernetes.io/dockerconfigjson
metadata: { name: regcred, namespace: bpfd }
data: { .dockerconfigjson: ${Buffer.from(json).toString("base64")} }
`);
    await node.current("xdp-pass-private-all-nodes", "Loaded");
    assert.ok(performance.now() - started < 10_000);
    assert.equal(node.ping(3), 3);
  });

  it("are refused when another identity signed them, or the signature is of another image", async () => {
    const cases = [
      ["strangers/xdp_pass", "keyless.sig.json", /refused: .*subject/],
      ["identity/other", "wrong-subject.sig.json", /refused: .*it signs sha256:[0-9a-f]{64}, not sha256:/],
    ] as const;
    for (const [repository, evidence, cause] of cases) {
      await node.push(`registry.example/${repository}:v1`, signed, simpleEvidence(evidence, signed.digest));
      await node.apply(config("refused", fromPrivate(`${repository}:v1`)));
      const refused = await node.current("refused", "NotLoaded", (program) => cause.test(causeOf(program)));
      assert.match(causeOf(refused), new RegExp(`^verify registry\\.example/${repository}:v1 \\(${signed.digest}\\)`));
    }
    await node.remove("refused", "xdp-pass-private-all-nodes");
  });

  it("come from files too, and follow them", async () => {
    const path = join(node.bench.directory, "owners.o");
    node.compile("owners");
    await node.apply(config("from-file", `file://${path}`));
    const first = await node.current("from-file", "Loaded");
    assert.equal(Object.keys(first.spec.programs).length, 1);
    assert.equal(node.ping(3), 3);
    await node.remove("from-file");
    await node.apply(config("from-file", `{ path: ${join(node.bench.directory, "absent.o")} }`));
    assert.match(causeOf(await node.current("from-file", "NotLoaded")), /absent\.o: ENOENT/);
    await node.remove("from-file");
  });
});
