import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { NodeReport, ObjectReport } from "@bpfleet/agent";
import { ProgramFiles, removeProgramFiles } from "./program-files.ts";

function report(...names: readonly string[]): NodeReport {
  const objects = names.map((name): ObjectReport => {
    const ref = { group: "bpfd.io", kind: "BpfProgram", namespace: "", name };
    const object = { apiVersion: "bpfd.io/v1alpha1", kind: "BpfProgram", metadata: { name }, spec: {} };
    return { ref, object, state: "in-force", messages: [], events: [] };
  });
  return { takenAt: "", isPaused: false, objects, broken: [] };
}

test("ProgramFiles tells of the programs that there are, to whom may open their maps", () => {
  const directory = mkdtempSync(join(tmpdir(), "programs-"));
  try {
    const folder = join(directory, "programs");
    const files = new ProgramFiles(folder, { mode: 0o640 });
    files.update(report());
    assert.equal(existsSync(folder), false);
    files.update(report("a-node", "b-node"));
    const path = join(folder, "BpfProgram/a-node.json");
    assert.equal((JSON.parse(readFileSync(path, "utf8")) as { kind: string }).kind, "BpfProgram");
    assert.equal(statSync(path).mode & 0o777, 0o640);
    assert.equal(statSync(join(folder, "BpfProgram")).mode & 0o777, 0o750);
    files.update(report("b-node"));
    assert.equal(existsSync(path), false);
    removeProgramFiles(join(directory, "bpfleet.sock"));
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
