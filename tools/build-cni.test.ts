import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { findCargo, targetDir } from "./cargo.ts";

const root = join(import.meta.dirname, "..");
const interpreterSegment = 3; // PT_INTERP
const largestBytes = 2 * 2 ** 20;

/** Types of the segments of an ELF file of 64 bits, little-endian. */
function segmentTypes(elf: Buffer): readonly number[] {
  const [offset, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  return Array.from({ length: count }, (_, at) => elf.readUInt32LE(offset + at * size));
}

test("bpfleet-cni needs nothing of the node that it runs on, and is small", () => {
  const elf = readFileSync(join(root, "build/cni/bpfleet-cni"));
  assert.ok(segmentTypes(elf).length > 0);
  assert.ok(!segmentTypes(elf).includes(interpreterSegment), "it is linked to libraries");
  assert.ok(segmentTypes(readFileSync(process.execPath)).includes(interpreterSegment), "Node is");
  assert.ok(elf.length < largestBytes, `${elf.length} bytes`);
});

test("bpfleet-cni passes the tests that stand beside its sources", () => {
  const command = [
    findCargo(),
    "test",
    "--quiet",
    "--locked",
    "--manifest-path",
    join(root, "packages/cni/Cargo.toml"),
  ];
  const { status, stdout, stderr } = spawnSync("flock", [join(targetDir, "bpfleet.lock"), ...command], {
    encoding: "utf8",
    env: { ...process.env, CARGO_TARGET_DIR: targetDir },
  });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /test result: ok\. [1-9]\d* passed; 0 failed/);
});
