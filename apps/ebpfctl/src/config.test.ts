import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "./config.ts";

test("parseConfig takes flags before the environment before the usual places", () => {
  const env = { BPFLEET_STORE: "objects", BPFLEET_STATE: "/s", BPFLEET_BPFFS: "" };
  assert.deepEqual(parseConfig({ state: "/other", verbose: true }, { env, cwd: "/home/me" }), {
    store: "/home/me/objects",
    state: "/other",
    socket: "/run/bpfd/bpfleet.sock",
    agentSocket: "/run/bpfd/bpfleet-agent.sock",
    bpffs: "/run/bpfd/fs",
    cluster: undefined,
    isVerbose: true,
  });
});

test("parseConfig finds the agent where the environment says, unless a flag names another daemon", () => {
  const env = { BPFLEET_SOCKET: "/r/b.sock", BPFLEET_AGENT_SOCKET: "/a/b.sock" };
  assert.equal(parseConfig({}, { env, cwd: "/" }).agentSocket, "/a/b.sock");
  assert.equal(parseConfig({ socket: "/x.sock" }, { env, cwd: "/" }).agentSocket, "/x-agent.sock");
});

test("parseConfig refuses a socket whose path the kernel would not take", () => {
  const socket = `/tmp/${"d".repeat(100)}/x.sock`;
  assert.throws(
    () => parseConfig({ socket }, { env: {}, cwd: "/" }),
    /longer than the 107 bytes.*give a shorter --socket/,
  );
});
