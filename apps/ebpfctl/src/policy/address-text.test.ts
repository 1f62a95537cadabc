import assert from "node:assert/strict";
import { test } from "node:test";
import { parseProtocolText } from "./address-text.ts";

test("parseProtocolText knows protocols by names and numbers, and nothing else", () => {
  assert.deepEqual(["tcp", "UDP", "6", "58", "89", "0"].map(parseProtocolText), [
    "tcp",
    "udp",
    "tcp",
    "icmpv6",
    "89",
    "0",
  ]);
  assert.deepEqual(["foo", "", "256", "-1", "constructor"].map(parseProtocolText), Array.from({ length: 5 }));
});
