import assert from "node:assert/strict";
import { test } from "node:test";
import type { ProgramRow } from "./rows.ts";
import { busyPrograms, renderCores } from "./top-programs.ts";

function row(id: number, runs: bigint, timeNs: bigint): ProgramRow {
  return {
    id,
    type: "xdp",
    name: `p${id}`,
    tag: "",
    loadedAt: "",
    uid: 0,
    mapIds: [],
    runCount: 0n,
    runTimeNs: 0n,
    verifiedInsns: 0,
    jitedBytes: 0,
    heldBy: [],
    findings: [],
    places: [],
    sampled: { runs, timeNs, windowMs: 500 },
  };
}

test("busyPrograms leaves out what did not run, and puts the busiest first by time or by runs", () => {
  const rows = [row(1, 10n, 50_000n), row(2, 0n, 0n), row(3, 1000n, 20_000n), row(4, 5n, 20_000n)];
  const ids = (order: "cpu" | "runs") => busyPrograms(rows, order).map((each) => each.row.id);
  assert.deepEqual(ids("cpu"), [1, 3, 4]);
  assert.deepEqual(ids("runs"), [3, 1, 4]);
  const [first] = busyPrograms(rows, "cpu");
  assert.deepEqual([first?.runsPerSecond, first?.nsPerRun, first?.cores], [20, 5000, 0.0001]);
});

test("renderCores writes parts of a CPU as Kubernetes does", () => {
  assert.deepEqual([2, 0.25, 0.001, 0.00008, 4e-9].map(renderCores), ["2000m", "250m", "1m", "80u", "4n"]);
});
