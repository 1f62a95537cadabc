import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadEndpoints, parseHosts } from "./hosts.ts";

const path = "/etc/bpfleet/registries/quay.io/hosts.toml";

test("parseHosts lists the mirrors in their order, then the server", () => {
  const text = `
server = "https://quay.io"
[host."https://mirror.example:5000"]
  capabilities = ["pull", "resolve"]
  ca = "ca.pem"
  client = [["client.pem", "/keys/client.key"]]
[host."http://127.0.0.1:5001/v2/mirrors/quay"]
  override_path = true
  skip_verify = true
  [host."http://127.0.0.1:5001/v2/mirrors/quay".header]
    x-team = ["a", "b"]
`;
  const all = ["pull", "resolve", "push"];
  assert.deepEqual(parseHosts(text, path, "quay.io"), [
    {
      url: "https://mirror.example:5000/v2",
      capabilities: ["pull", "resolve"],
      ca: ["/etc/bpfleet/registries/quay.io/ca.pem"],
      client: [{ cert: "/etc/bpfleet/registries/quay.io/client.pem", key: "/keys/client.key" }],
      skipsVerification: false,
      headers: {},
    },
    {
      url: "http://127.0.0.1:5001/v2/mirrors/quay",
      capabilities: all,
      ca: [],
      client: [],
      skipsVerification: true,
      headers: { "x-team": "a, b" },
    },
    { url: "https://quay.io/v2", capabilities: all, ca: [], client: [], skipsVerification: false, headers: {} },
  ]);
});

test("parseHosts asks the host itself when the file names no server", () => {
  assert.deepEqual(
    parseHosts("", path, "docker.io").map(({ url }) => url),
    ["https://registry-1.docker.io/v2"],
  );
});

test("parseHosts says what is wrong, and in which file", () => {
  const cases: [string, RegExp][] = [
    ["server = ", /read .*hosts\.toml: Invalid TOML/],
    ["server = 1", /server: must be a URL/],
    ['server = "ftp://x"', /server: "ftp:\/\/x" is no http or https URL/],
    ['[host."https://u:p@x"]', /must hold no user and no password/],
    ['[host."https://x"]\ncapabilities = ["fetch"]', /"fetch" is none of pull, resolve, push/],
    ['[host."https://x"]\nskip_verify = "no"', /skip_verify: must be true or false/],
    ['[host."https://x"]\nca = 1', /ca: must be the path of a PEM file/],
    ["host = 1", /host: must be tables/],
  ];
  for (const [text, message] of cases)
    assert.throws(() => parseHosts(text, path, "quay.io"), { code: "invalid", message });
});

test("loadEndpoints prefers the file of the host to that of all hosts", async () => {
  const directory = mkdtempSync(join(tmpdir(), "hosts-"));
  try {
    const write = (name: string, text: string) => {
      mkdirSync(join(directory, name));
      writeFileSync(join(directory, name, "hosts.toml"), text);
    };
    write("_default", '[host."https://cache.example"]');
    write("quay.io", '[host."https://quay.cache.example"]');
    const urls = async (host: string) => (await loadEndpoints(directory, host)).map(({ url }) => url);
    assert.deepEqual(await urls("quay.io"), ["https://quay.cache.example/v2", "https://quay.io/v2"]);
    assert.deepEqual(await urls("ghcr.io"), ["https://cache.example/v2", "https://ghcr.io/v2"]);
    assert.deepEqual(
      (await loadEndpoints(undefined, "ghcr.io")).map(({ url }) => url),
      ["https://ghcr.io/v2"],
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});
