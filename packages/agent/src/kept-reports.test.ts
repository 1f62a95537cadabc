import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { features } from "@bpfleet/features";
import { isOfFacts, kinds, type KubeObject } from "@bpfleet/kinds";
import { startObjectAgent } from "./agent.ts";
import { Records } from "./records.ts";
import { DirectorySource } from "./store/directory-source.ts";
import { DirectoryStore } from "./store/directory-store.ts";
import { ObedientDaemon } from "./testing/obedient-daemon.ts";

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

const policy: KubeObject = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "close", namespace: "shop" },
  spec: { podSelector: {}, policyTypes: ["Ingress"] },
};
const namespace: KubeObject = { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", labels: {} } };

test("startObjectAgent keeps and tells what became of those objects alone for which it is asked, and reports all", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-agent-"));
  await using cleaning = new AsyncDisposableStack();
  cleaning.defer(() => rmSync(directory, { recursive: true, force: true }));
  const place = join(directory, "objects");
  const source = { file: "all.yaml", line: 1, isRendered: true };
  await new DirectoryStore({ directory: place, clock }).writeAll([
    {
      ref: { group: "networking.k8s.io", kind: "NetworkPolicy", namespace: "shop", name: "close" },
      value: policy,
      text: JSON.stringify(policy),
      source,
    },
    {
      ref: { group: "", kind: "Namespace", namespace: "", name: "shop" },
      value: namespace,
      text: JSON.stringify(namespace),
      source,
    },
  ]);
  const records = new Records(join(directory, "state"));
  const { promise: told, resolve: tell } = Promise.withResolvers<readonly string[]>();
  const agent = cleaning.use(
    await startObjectAgent({
      source: new DirectorySource({ directory: place, clock }),
      records,
      daemon: new ObedientDaemon(),
      features,
      kinds,
      clock,
      keeps: (ref) => !isOfFacts(ref),
      onReports: ({ reports }) => tell(reports.map(({ ref }) => ref.kind)),
    }),
  );
  assert.deepEqual(await told, ["NetworkPolicy"]);
  assert.deepEqual(
    records.all().map(({ ref }) => ref.kind),
    ["NetworkPolicy"],
  );
  const { objects } = await agent.report();
  assert.deepEqual(objects.map(({ ref }) => ref.kind).toSorted(), ["Namespace", "NetworkPolicy"]);
});
