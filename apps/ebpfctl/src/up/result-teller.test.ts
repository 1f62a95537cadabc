import assert from "node:assert/strict";
import { test } from "node:test";
import type { DaemonResults } from "@bpfleet/daemon";
import { ResultTeller } from "./result-teller.ts";

const nothing: DaemonResults = {
  revision: 1,
  isComplete: true,
  isSettled: true,
  isPaused: false,
  items: [],
  healed: [],
  applyMs: undefined,
  trouble: undefined,
};
const hook = (key: string, state: "in-force" | "failed"): DaemonResults["items"][number] =>
  state === "in-force"
    ? { item: "hook", key, state, hook: { mode: "native", chain: "chain", memberModes: ["inline", "stub"] } }
    : { item: "hook", key, state, error: { code: "busy", message: "attach x: occupied (EBUSY)" } };

test("ResultTeller tells each change once, and nothing that is not settled", () => {
  const lines: string[] = [];
  const teller = new ResultTeller((line) => lines.push(line));
  teller.tell({ ...nothing, isSettled: false, items: [hook("xdp/eth0", "failed")] });
  teller.tell({ ...nothing, items: [hook("xdp/eth0", "failed")] });
  teller.tell({ ...nothing, items: [hook("xdp/eth0", "failed")] });
  teller.tell({
    ...nothing,
    items: [hook("xdp/eth0", "in-force")],
    healed: [{ at: 5, item: "hook", key: "xdp/eth0", what: "the link was removed" }],
  });
  teller.tell({ ...nothing, isPaused: true });
  teller.tell({ ...nothing, healed: [{ at: 5, item: "hook", key: "xdp/eth0", what: "the link was removed" }] });
  assert.deepEqual(lines, [
    "hook xdp/eth0: failed: attach x: occupied (EBUSY)",
    "put right hook xdp/eth0: the link was removed",
    "hook xdp/eth0: in force (native, 2 programs: inline, stub)",
    "paused: everything is detached",
    "resumed",
  ]);
});
