import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import { startAgent } from "./agent.ts";
import { objectPath } from "./store/object-path.ts";
import { ObedientDaemon } from "./testing/obedient-daemon.ts";

const ref = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "a" };
const text = `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: {name: a}
spec: {type: xdp, interface: eth0}
`;

test("startAgent says the same trouble once an hour, and of an object whose status cannot be told which it is", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-notices-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const store = join(directory, "objects");
  const path = join(store, objectPath(ref, "yaml"));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  const notices: string[] = [];
  let laterMs = 0;
  await using agent = await startAgent({
    store,
    stateDir: join(directory, "state"),
    daemon: new ObedientDaemon(),
    features: [],
    kinds: kinds.map((kind) =>
      kind.kind === ref.kind && kind.group === ref.group
        ? Object.assign(Object.create(kind) as typeof kind, {
            status: () => {
              throw new Error("no words");
            },
          })
        : kind,
    ),
    clock: { now: () => Date.now(), monotonicMs: () => performance.now() + laterMs },
    onNotice: (notice) => notices.push(notice),
  });
  const said = () => notices.filter((notice) => notice.includes("no words"));
  await agent.report();
  await agent.report();
  assert.deepEqual(said(), ["tell the status of EBPFProgram default/a: no words; report it with the object"]);
  laterMs = 3_600_000;
  await agent.report();
  assert.equal(said().length, 2);
});
