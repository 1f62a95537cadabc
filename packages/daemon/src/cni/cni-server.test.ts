import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { CniAnswer } from "./announcement.ts";
import { CniServer } from "./cni-server.ts";

const host = {
  announce: async () => undefined,
  withdraw: () => undefined,
  keepOnly: () => undefined,
  admit: async () => ({ is: "ready" as const }),
  wait: async () => ({ is: "ready" as const }),
};

/** As the plug-in asks: all of the question first, then the answer. */
async function ask(socketPath: string, question: string): Promise<CniAnswer> {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  socket.end(question);
  return JSON.parse(await text(socket)) as CniAnswer;
}

test("CniServer answers each question, and says why one is none", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-cni-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const socket = join(folder, "bpfd-cni.sock");
  await using _ = await CniServer.listen({ socket, host, onAnswer: () => undefined });
  const status = JSON.stringify({ version: 1, command: "STATUS" });
  assert.deepEqual(await ask(socket, status), { is: "ready" });
  assert.match((await ask(socket, "{}")).why ?? "", /does not understand the plug-in; run both of one version/);
  const long = await ask(socket, status.padEnd(8 << 20));
  assert.equal(long.is, "unknown");
  assert.match(long.why ?? "", /the question is longer than 1048576 bytes, .*; look at what the plug-ins before gave/);
});
