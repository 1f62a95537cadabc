import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMetricsAddress } from "./metrics-address.ts";

test("parseMetricsAddress reads ports, hosts and sockets", () => {
  assert.equal(parseMetricsAddress(undefined), undefined);
  assert.deepEqual(parseMetricsAddress(":9090"), { port: 9090, host: undefined });
  assert.deepEqual(parseMetricsAddress("127.0.0.1:9090"), { port: 9090, host: "127.0.0.1" });
  assert.deepEqual(parseMetricsAddress("[::1]:9090"), { port: 9090, host: "::1" });
  assert.deepEqual(parseMetricsAddress("unix:/run/m.sock"), { unix: "/run/m.sock" });
  for (const text of ["", "9090", ":", ":70000", "::1:9090", "a:b"])
    assert.throws(() => parseMetricsAddress(text), /"--metrics-addr"/, text);
});
