import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseReference, renderReference, tagOrDigest } from "./reference.ts";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;

test("parseReference reads names as docker does", () => {
  const cases: [string, string][] = [
    ["quay.io/bpfd-bytecode/xdp_pass:latest", "quay.io/bpfd-bytecode/xdp_pass:latest"],
    ["image://quay.io/bpfd-bytecode/xdp_pass:latest", "quay.io/bpfd-bytecode/xdp_pass:latest"],
    ["quay.io/bpfd/bytecode:xdp_pass", "quay.io/bpfd/bytecode:xdp_pass"],
    ["quay.io/bpfd-bytecode/xdp_pass", "quay.io/bpfd-bytecode/xdp_pass:latest"],
    ["xdp_pass", "docker.io/library/xdp_pass:latest"],
    ["me/xdp_pass:v1", "docker.io/me/xdp_pass:v1"],
    ["index.docker.io/me/xdp_pass", "docker.io/me/xdp_pass:latest"],
    ["localhost/xdp_pass", "localhost/xdp_pass:latest"],
    ["localhost:5000/a/b:1.2", "localhost:5000/a/b:1.2"],
    ["192.0.2.1:5000/a", "192.0.2.1:5000/a:latest"],
    ["[2001:db8::1]:5000/a:t", "[2001:db8::1]:5000/a:t"],
    ["Registry.Example.com/a", "registry.example.com/a:latest"],
    [`quay.io/a/b@${digest}`, `quay.io/a/b@${digest}`],
    [`quay.io/a/b:t@${digest}`, `quay.io/a/b:t@${digest}`],
  ];
  for (const [text, full] of cases) assert.equal(renderReference(parseReference(text)), full);
});

test("parseReference asks for the digest when there is one", () => {
  assert.equal(tagOrDigest(parseReference(`quay.io/a/b:t@${digest}`)), digest);
  assert.equal(tagOrDigest(parseReference("quay.io/a/b")), "latest");
});

test("parseReference says what is wrong with a name", () => {
  const cases: [string, RegExp][] = [
    ["", /it is empty/],
    ["https://quay.io/a", /leave the scheme off/],
    ["quay.io/A/b", /lower case/],
    ["quay.io/a/../b", /no repository/],
    ["quay.io/a:b c", /no tag/],
    ["quay.io/a@sha256:12", /no digest/],
    ["quay.io/", /no repository/],
    ["quay.io/a//b", /no repository/],
    ["-x.example/a", /no host/],
    [`quay.io/${"a".repeat(256)}`, /no repository/],
  ];
  for (const [text, message] of cases)
    assert.throws(() => parseReference(text), { name: "ImageError", code: "invalid", message });
});

test("parseReference reads back what renderReference writes", () => {
  const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const names = fc.record({
    host: fc.tuple(word, word).map(([a, b]) => `${a}.${b}`),
    repository: fc.array(word, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/")),
    tag: fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}$/),
  });
  fc.assert(fc.property(names, (name) => assert.deepEqual(parseReference(renderReference(name)), { ...name })));
});
