import assert from "node:assert/strict";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Condition } from "@bpfleet/kinds";
import { kinds } from "@bpfleet/kinds";
import { startAgent } from "./agent.ts";
import { DirectoryStore } from "./store/directory-store.ts";
import { cutManifest } from "./store/cut-manifest.ts";
import { identify } from "./store/stored-object.ts";
import { ObedientDaemon } from "./testing/obedient-daemon.ts";

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const root = join(import.meta.dirname, "../../..");
const groups = "{networking.fos1.io,podconfig.example.com,crd.projectcalico.org}";
const served = ["EBPFProgram", "EBPFMap", "EBPFNetworkPolicy", "EBPFContainerPolicy"];

test("startAgent says of each kind that is served later that it is not, and what would be missing", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-agent-"));
  await using cleaning = new AsyncDisposableStack();
  cleaning.defer(() => rmSync(directory, { recursive: true, force: true }));
  const store = new DirectoryStore({ directory: join(directory, "objects"), clock });
  const files = globSync(`packages/kinds/src/${groups}/*/samples/*.yaml`, { cwd: root });
  const objects = files.flatMap((file) => [...cutManifest(readFileSync(join(root, file), "utf8"), file).objects]);
  const later = objects.filter(({ manifest }) => !served.includes(manifest.kind));
  await store.writeAll(
    later.map(({ manifest, text, source }) => {
      const identity = identify(manifest);
      assert.ok("ref" in identity);
      const isCluster = kinds.find(({ kind }) => kind === manifest.kind)?.scope === "Cluster";
      const ref = { ...identity.ref, namespace: isCluster ? "" : "default" };
      return { ref, value: manifest.value, text, source };
    }),
  );
  const daemon = new ObedientDaemon();
  const agent = cleaning.use(
    await startAgent({
      store: join(directory, "objects"),
      stateDir: join(directory, "state"),
      daemon,
      features: [],
      kinds,
      clock,
    }),
  );
  const report = await agent.report();
  assert.equal(report.objects.length, later.length);
  assert.deepEqual([...new Set(report.objects.map(({ ref }) => ref.kind))].toSorted(), [
    "EBPFNATPolicy",
    "EBPFTrafficControl",
    "FelixConfiguration",
    "PodConfigMapConfig",
  ]);
  for (const { ref, standing, object, messages } of report.objects) {
    assert.equal(standing, "not-served", ref.kind);
    const { conditions } = object.status as { readonly conditions: readonly Condition[] };
    const said = conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`);
    assert.deepEqual(said, ["Ready=False NotServed", "Accepted=False NotServed", "Applied=False NotServed"], ref.kind);
    assert.match(messages[0] ?? "", /\.yaml:\d+: .* is not served yet; /);
  }
  assert.deepEqual([daemon.isComplete, daemon.plan.programs.length], [true, 0]);
});
