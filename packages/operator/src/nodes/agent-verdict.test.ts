import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeAgent, type AgentSigns } from "./agent-verdict.ts";

const well: AgentSigns = { isNodeLost: false, podsAreMade: true, unready: undefined, silentMs: 1e9, graceMs: 90_000 };

test("judgeAgent believes an agent that is ready, however long ago it wrote", () => {
  assert.deepEqual(judgeAgent(well), { is: "heard" });
});

test("judgeAgent waits for a pod that is replaced, and then tells what is wrong with it", () => {
  assert.deepEqual(judgeAgent({ ...well, unready: [], silentMs: 30_000 }), { is: "awaited", ms: 60_000 });
  const none = judgeAgent({ ...well, unready: [], silentMs: 90_000 });
  assert.ok(none.is === "silent" && none.reason === "AgentGone");
  assert.match(none.message, /^no pod of bpfd-daemon is on the node/);
  const unready = judgeAgent({ ...well, unready: ["bpfd-daemon-x"] });
  assert.ok(unready.is === "silent" && unready.message.includes("bpfd-daemon-x"));
});

test("judgeAgent takes the silence of a kubelet for the node's, and the absence of pods for nothing where none are made", () => {
  const lost = judgeAgent({ ...well, isNodeLost: true, podsAreMade: false });
  assert.ok(lost.is === "silent" && lost.reason === "NodeLost");
  assert.deepEqual(judgeAgent({ ...well, podsAreMade: false, unready: [] }), { is: "unknown" });
});
