import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { Agent } from "../agent.ts";
import { serveAgent } from "./server.ts";

test("serveAgent says of a request for an edit that is none that it is none", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-serve-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const socketPath = join(folder, "agent.sock");
  const agent = { adviseEdit: async () => ({ found: false, why: "no policy" }) } as unknown as Agent;
  await using _ = await serveAgent(agent, socketPath);
  const ask = async (body: string): Promise<string> => {
    const asked = request({ socketPath, path: "/v1/edit", method: "POST" }).end(body);
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    return `${answer.statusCode} ${(await text(answer)).trim()}`;
  };
  const edit = { interface: "eth0", direction: "egress", frame: "" };
  for (const body of ["{", "null", "{}"])
    assert.match(await ask(body), /^400 give interface, direction and frame/, body);
  assert.equal(await ask(JSON.stringify({ ...edit, peer: 1 })), "400 give peer as an address");
  assert.equal(await ask(JSON.stringify(edit)), '200 {"found":false,"why":"no policy"}');
});

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
