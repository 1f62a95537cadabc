import assert from "node:assert/strict";
import { test } from "node:test";
import { readFailSafePorts, usualFailSafePorts } from "./fail-safe-ports.ts";

const tcp = (from: number, to = from) => ({ protocol: "TCP", from, to }) as const;

test("readFailSafePorts replaces what is usual, adds to it, or leaves nothing open, by direction", () => {
  assert.deepEqual(readFailSafePorts("in:tcp/22,udp/546-547"), {
    ports: { ...usualFailSafePorts, ingress: [tcp(22), { protocol: "UDP", from: 546, to: 547 }] },
    mistakes: [],
  });
  assert.deepEqual(readFailSafePorts(" OUT: none ; in: usual, TCP/8000-8010 ").ports, {
    ingress: [...usualFailSafePorts.ingress, tcp(8000, 8010)],
    egress: [],
    reachesApiServer: false,
  });
  assert.deepEqual(readFailSafePorts("out:api-server,tcp/53").ports, {
    ...usualFailSafePorts,
    egress: [tcp(53)],
  });
  assert.deepEqual(readFailSafePorts("in:usual;out:usual"), { ports: usualFailSafePorts, mistakes: [] });
});

test("readFailSafePorts tells all mistakes at once", () => {
  assert.deepEqual(readFailSafePorts("22;in:tcp/0,sctp/9,tcp/9-8,api-server,,tcp/65536;in:none,tcp/22;out:").mistakes, [
    '"22" begins with neither in: nor out:',
    "in: tcp/0 is no such item",
    "in: sctp/9 is no such item",
    "in: tcp/9-8 is no such item",
    "in: api-server is no such item",
    "in: an item is empty",
    "in: tcp/65536 is no such item",
    "in: is there twice",
    "in: none stands beside others",
    "out: an item is empty",
  ]);
});
