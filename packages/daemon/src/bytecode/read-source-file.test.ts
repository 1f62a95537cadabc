import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readSourceFile } from "./read-source-file.ts";

const dir = mkdtempSync(join(tmpdir(), "bpfleet-source-"));
after(() => rmSync(dir, { recursive: true, force: true }));

test("readSourceFile reads a file whole", async () => {
  const path = join(dir, "a.o");
  const bytes = Buffer.alloc(300_000, 7);
  writeFileSync(path, bytes);
  assert.deepEqual(await readSourceFile(path), bytes);
});

test(
  "readSourceFile refuses what has no end, what would hold it, and what is too big",
  { timeout: 20_000 },
  async () => {
    const pipe = join(dir, "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const path of ["/dev/zero", pipe, dir])
      await assert.rejects(readSourceFile(path), {
        code: "invalid",
        message: `read ${path}: it is no file; give the path of an object`,
      });
    const big = join(dir, "big.o");
    writeFileSync(big, "");
    truncateSync(big, 70_000_000);
    await assert.rejects(readSourceFile(big), {
      code: "too-big",
      message: /it has 70000000 bytes, 67108864 are allowed/,
    });
  },
);

test("readSourceFile says that a file is not there, and that it is waited for", async () => {
  const path = join(dir, "none.o");
  await assert.rejects(readSourceFile(path), {
    code: "not-found",
    message: `read ${path}: ENOENT; it is read as soon as it is there`,
  });
});
