import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { parseReference } from "../reference.ts";
import { readFixture, testdata } from "../testing/fixtures.ts";
import { loadImagePolicy, loadNodePolicy, parseImagePolicy } from "./policy-file.ts";
import { findRule, matchesImage } from "./policy.ts";

const head = "apiVersion: bpfleet.io/v1alpha1\nkind: ImagePolicy\n";
const parse = (text: string) =>
  parseImagePolicy(text, join(testdata, "image-policy.yaml"), (path) => readFile(path, "utf8"));

async function complaints(text: string): Promise<string[]> {
  const read = await parse(text);
  assert.equal(read.ok, false);
  return read.issues.map(({ message, position }) => `${position?.line}:${position?.column} ${message}`);
}

test("parseImagePolicy reads rules, keys and identities, with the files that they name", async () => {
  const read = await parse(`${head}trustedRoot: trusted-root.json
default: { mode: warn, accept: { keys: [{ name: release, file: release.pub }] } }
rules:
  - images: ["quay.io/bpfd-bytecode/*"]
    mode: required
    accept:
      identities:
        - issuer: https://token.actions.githubusercontent.com
          subjectPattern: https://github\\.com/example/.*
          certificateLog: false
  - images: ["registry.example/**"]
    mode: off
`);
  assert.ok(read.ok, JSON.stringify(read.issues));
  const rule = (name: string) => findRule(read.value, parseReference(name));
  const [identity] = rule("quay.io/bpfd-bytecode/xdp_pass:latest").accept;
  assert.ok(identity?.kind === "identity");
  assert.deepEqual([identity.needsTransparencyLog, identity.needsCertificateLog], [true, false]);
  assert.equal(rule("registry.example/a/b").mode, "off");
  const [key] = rule("ghcr.io/a/b").accept;
  assert.equal(key?.kind === "key" ? key.pem : "", readFixture("release.pub").toString());
});

test("parseImagePolicy tells every mistake with its place", async () => {
  assert.deepEqual(
    await complaints(`${head}rules:
  - images: []
    mode: strict
    acept: {}
  - mode: off
`),
    [
      "4:5 rules[0].images: must not have fewer than 1 items",
      "5:5 rules[0].mode: must be one of required, warn, off",
      "6:5 rules[0].acept: unknown field",
      "7:5 rules[1].images: is required",
    ],
  );
});

test("parseImagePolicy refuses a rule that nobody could meet, and keys and roots that are none", async () => {
  assert.deepEqual(
    await complaints(`${head}trustedRoot: release.pub
rules:
  - images: [a]
    mode: required
  - images: [b]
    mode: warn
    accept:
      keys:
        - { name: none }
        - { name: gone, file: gone.pub }
        - { name: text, pem: text }
      identities:
        - { issuer: x, subject: y }
`),
    [
      "3:1 trustedRoot: release.pub must be a trusted_root.json of Sigstore with certificateAuthorities",
      "5:5 rules[0].accept: is required with mode required: keys or identities that may sign",
      "11:11 rules[1].accept.keys[0]: must have either pem or file",
      `12:25 rules[1].accept.keys[1].file: read ${join(testdata, "gone.pub")}: ENOENT`,
      "13:25 rules[1].accept.keys[2].pem: must be a public key in PEM",
      "15:11 rules[1].accept.identities[0]: needs a trustedRoot in this file, which names the authorities",
    ],
  );
});

test("parseImagePolicy tells what is no YAML, and a duplicate key", async () => {
  assert.match((await complaints("a: [")).join(), /^1:5 /);
  assert.match((await complaints(`${head}kind: ImagePolicy\n`)).join(), /^3:1 Map keys must be unique/);
});

test("loadImagePolicy says that the file is not there", async () => {
  const read = await loadImagePolicy("/nonexistent/image-policy.yaml");
  assert.deepEqual(
    read.issues.map(({ message }) => message),
    ["read /nonexistent/image-policy.yaml: ENOENT"],
  );
});

test("matchesImage takes * within a part and ** across parts, and nothing else for a pattern", () => {
  const yes = [
    ["quay.io/*/xdp_*", "quay.io/a/xdp_pass"],
    ["quay.io/**", "quay.io/a/b/c"],
    ["**", "x/y"],
    ["a.io/b", "a.io/b"],
  ] as const;
  const no = [
    ["quay.io/*", "quay.io/a/b"],
    ["quay.io/a", "quay.io/ab"],
    ["a.io/b", "axio/b"],
    ["quay.io/**", "quay.io.evil/a"],
  ] as const;
  for (const [pattern, name] of yes) assert.equal(matchesImage(pattern, name), true, pattern);
  for (const [pattern, name] of no) assert.equal(matchesImage(pattern, name), false, pattern);
});

test("loadNodePolicy takes a node without a file for one that asks for no signatures, and a bad file for none", async () => {
  const none = await loadNodePolicy("/nonexistent/image-policy.yaml");
  assert.equal(none.ok && findRule(none.value, parseReference("a.io/b")).mode, "off");
  assert.equal((await loadNodePolicy(join(testdata, "release.pub"))).ok, false);
});
