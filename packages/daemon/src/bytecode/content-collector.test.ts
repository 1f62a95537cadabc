import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { emptyPlan, type NodeFacts, type ProgramSpec } from "@bpfleet/kernel";
import { ContentStore } from "@bpfleet/oci/local";
import { ContentCollector, objectsInUse } from "./content-collector.ts";

const program = (digest: string, name = `bytecode/${digest}`): ProgramSpec => ({
  key: digest,
  name: "p",
  type: "xdp",
  object: { name, digest },
  entry: "e",
  globals: {},
  maps: {},
});
const [planned, earlier, fetched] = ["1".repeat(64), "2".repeat(64), "3".repeat(64)];
const ready = {
  state: "ready",
  objectDigest: fetched,
  signature: "unsigned",
  labels: {},
  programs: [],
  maps: [],
  globals: [],
  license: "GPL",
} as const;

test("objectsInUse names what the plan, the earlier plans and fetched sources need, and no object of ours", () => {
  const facts = {
    earlierPlans: { a: { ...emptyPlan, attachments: [], programs: [program(earlier)] } },
    bytecode: { f: { state: "failed", reason: "r", message: "m", earlier: ready }, g: { state: "fetching" } },
  } as unknown as NodeFacts;
  const plan = { ...emptyPlan, programs: [program(planned), program("4".repeat(64), "filter")] };
  assert.deepEqual(
    [...objectsInUse(plan, facts)],
    [planned, earlier, fetched].map((hex) => `sha256:${hex}`),
  );
});

test("ContentCollector removes after a change what nothing needs, and nothing while that cannot be told", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-collect-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const store = new ContentStore(directory, { graceMs: 0 });
  const used = await store.writeBlob(Buffer.from("used"));
  const unused = await store.writeBlob(Buffer.from("unused"));
  const known: { digests?: ReadonlySet<typeof used> } = {};
  const troubles: unknown[] = [];
  await using collector = new ContentCollector({
    store,
    inUse: () => known.digests,
    onTrouble: (error) => void troubles.push(error),
    now: () => Date.now() + 1000,
    quietMs: 1,
  });
  collector.changed();
  await sleep(50);
  assert.ok((await store.findBlob(unused)) !== undefined);
  known.digests = new Set([used]);
  collector.changed();
  for (let tries = 0; tries < 100 && (await store.findBlob(unused)) !== undefined; tries++) await sleep(10);
  assert.equal(await store.findBlob(unused), undefined);
  assert.ok((await store.findBlob(used)) !== undefined);
  assert.deepEqual(troubles, []);
});
