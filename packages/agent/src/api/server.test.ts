import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { Agent } from "../agent.ts";
import { serveAgent } from "./server.ts";

test("serveAgent says what there is to whoever asks for something else", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-serve-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const socketPath = join(folder, "agent.sock");
  await using _ = await serveAgent({} as Agent, socketPath);
  const answer = await new Promise<string>((resolve, reject) =>
    request({ socketPath, path: "/" }, (response) => resolve(text(response)))
      .on("error", reject)
      .end(),
  );
  assert.equal(answer, "there are GET /v1/report, POST /v1/sync, GET /v1/policy, POST /v1/edit\n");
});
