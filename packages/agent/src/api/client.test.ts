import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { answers } from "./client.ts";

const nobody = 65534;

test("answers takes a socket that one may not open for served, and a missing one for not", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-answers-"));
  t.after(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o755);
  const socket = join(folder, "s.sock");
  assert.equal(await answers(socket), false);
  const server = createServer().listen(socket);
  t.after(() => server.close());
  await once(server, "listening");
  assert.equal(await answers(socket), true);
  chmodSync(socket, 0);
  const isRoot = process.getuid?.() === 0;
  if (isRoot) process.seteuid?.(nobody);
  try {
    assert.equal(await answers(socket), true);
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
});
