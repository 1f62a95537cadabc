import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CommandBench } from "../testing/run-command.ts";

test("cleanup removes what daemon and agent remembered of this node, and what they had begun to write", async () => {
  using bench = new CommandBench();
  const state = bench.env.BPFLEET_STATE;
  const others = ["content", "others.new", "plan-of-others"];
  const ofRunningDaemon = ["cni-known", "cni-known.new"];
  const remembered = ["hash-seed", "journal", "paused", "plan", "plan.77.3.new", "rules", "rules.77.0.new"];
  mkdirSync(join(state, "status"), { recursive: true });
  mkdirSync(join(state, "sealed"));
  for (const name of [...others, ...ofRunningDaemon, ...remembered]) writeFileSync(join(state, name), "");
  const all = readdirSync(state).toSorted();
  const left = async (...flags: string[]): Promise<readonly string[]> => {
    const { exitCode, err } = await bench.run(["cleanup", ...flags]);
    assert.equal(exitCode, 0, err);
    return readdirSync(state).toSorted();
  };
  assert.deepEqual(await left("--keep-state"), all);
  assert.deepEqual(await left("--force"), [...others, ...ofRunningDaemon].toSorted());
  assert.deepEqual(await left(), others);
});
