import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { parseChallenges } from "./challenge.ts";
import { Credential, credentialsOfSecret, findCredential, mergeCredentials, parseDockerConfig } from "./credentials.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");

function parse(auths: object) {
  const read = parseDockerConfig(JSON.stringify({ auths }));
  assert.ok(read.ok, JSON.stringify(read.issues));
  return read.value;
}

test("parseDockerConfig reads auth, username with password, and identity tokens", () => {
  const credentials = parse({
    "quay.io": { auth: base64("robot:pa:ss") },
    "https://index.docker.io/v1/": { username: "me", password: "secret" },
    "ghcr.io": { auth: base64("x:y"), identitytoken: "token" },
  });
  const of = (host: string) => findCredential(credentials, host, "a/b");
  assert.deepEqual([of("quay.io")?.username, of("quay.io")?.reveal()], ["robot", "pa:ss"]);
  assert.deepEqual([of("docker.io")?.username, of("docker.io")?.reveal()], ["me", "secret"]);
  assert.deepEqual([of("ghcr.io")?.isIdentityToken, of("ghcr.io")?.reveal()], [true, "token"]);
  assert.equal(of("quay.io.example.com"), undefined);
});

test("findCredential takes the longest path that fits whole parts of the name", () => {
  const credentials = parse({
    "quay.io": { auth: base64("host:1") },
    "quay.io/team": { auth: base64("team:1") },
    "quay.io/team/app": { auth: base64("app:1") },
  });
  const of = (repository: string) => findCredential(credentials, "quay.io", repository)?.username;
  assert.deepEqual([of("team/app"), of("team/application"), of("other/app")], ["app", "team", "host"]);
});

test("credentialsOfSecret reads both types of pull secret", () => {
  const auths = { "quay.io": { auth: base64("a:b") } };
  for (const data of [
    { ".dockerconfigjson": base64(JSON.stringify({ auths })) },
    { ".dockercfg": base64(JSON.stringify(auths)) },
  ]) {
    const read = credentialsOfSecret(data);
    assert.ok(read.ok);
    assert.equal(findCredential(read.value, "quay.io", "x")?.username, "a");
  }
  assert.match(credentialsOfSecret({ other: "" }).issues[0]?.message ?? "", /no key \.dockerconfigjson/);
});

test("parseDockerConfig never repeats what it could not read", () => {
  for (const text of [
    '{"auths": {"quay.io": {"password": "hunter2"',
    '{"auths":{"quay.io":{"auth":"aHVudGVyMg=="}}}',
    "[]",
  ]) {
    const read = parseDockerConfig(text);
    assert.equal(read.ok, false);
    assert.doesNotMatch(JSON.stringify(read), /hunter2|aHVudGVyMg/);
  }
});

test("Credential is printed without its secret", () => {
  const credential = new Credential("me", "hunter2");
  const all = mergeCredentials([new Map([["quay.io", credential]])]);
  for (const text of [inspect(all, { depth: 9, showHidden: true }), JSON.stringify([...all]), String(credential)])
    assert.doesNotMatch(text, /hunter2/);
});

test("parseChallenges reads one and several challenges", () => {
  const bearer = {
    scheme: "bearer",
    parameters: { realm: "https://auth.example/token", service: "a, b", scope: 'x"y' },
  };
  assert.deepEqual(parseChallenges('Bearer realm="https://auth.example/token",service="a, b", scope="x\\"y"'), [
    bearer,
  ]);
  assert.deepEqual(
    parseChallenges('Basic realm=simple, Bearer realm="https://auth.example/token",service="a, b",scope="x\\"y"'),
    [{ scheme: "basic", parameters: { realm: "simple" } }, bearer],
  );
  assert.deepEqual(parseChallenges("Negotiate"), [{ scheme: "negotiate", parameters: {} }]);
  assert.deepEqual(parseChallenges('"'), []);
  assert.deepEqual(parseChallenges(""), []);
});
