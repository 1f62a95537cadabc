import assert from "node:assert/strict";
import { test } from "node:test";
import { environmentProxy } from "./environment-proxy.ts";

test("environmentProxy is the proxy of the environment, by the server's protocol", () => {
  const env = { HTTPS_PROXY: "http://secure:3128", http_proxy: "plain:3128" };
  assert.equal(environmentProxy(env, "https://api.example:6443"), "http://secure:3128");
  assert.equal(environmentProxy(env, "http://api.example"), "http://plain:3128");
  assert.equal(environmentProxy({}, "https://api.example"), undefined);
  assert.equal(environmentProxy({ HTTPS_PROXY: "" }, "https://api.example"), undefined);
});

test("environmentProxy leaves out what NO_PROXY names, and loopback", () => {
  const cases: readonly (readonly [except: string, server: string, isDirect: boolean])[] = [
    ["", "https://api.example", false],
    ["", "https://127.0.0.1:6443", true],
    ["", "https://[::1]:6443", true],
    ["", "https://localhost", true],
    ["*", "https://api.example", true],
    ["api.example", "https://api.example", true],
    ["example", "https://api.example", true],
    [".example", "https://api.example", true],
    ["*.example", "https://api.example", true],
    [".example", "https://example", false],
    ["ample", "https://api.example", false],
    ["x, api.example:6443", "https://api.example:6443", true],
    ["api.example:443", "https://api.example", true],
    ["api.example:443", "https://api.example:6443", false],
    ["10.0.0.1", "https://10.0.0.1", true],
    ["10.0.0.1", "https://10.0.0.10", false],
    ["10.96.0.0/12", "https://10.100.0.1", true],
    ["10.96.0.0/12", "https://10.112.0.1", false],
    ["10.96.0.0/99", "https://10.96.0.1", false],
    ["fd00::/8", "https://[fd12::1]", true],
    ["fd00::/8", "https://10.0.0.1", false],
    ["10.0.0.0/8", "https://api.example", false],
  ];
  for (const [except, server, isDirect] of cases) {
    const proxy = environmentProxy({ HTTPS_PROXY: "http://p:1", NO_PROXY: except }, server);
    assert.equal(proxy === undefined, isDirect, `${except} for ${server}`);
  }
});
