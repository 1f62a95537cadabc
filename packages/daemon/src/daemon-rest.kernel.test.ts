import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestFilter } from "./testing/run-daemon.ts";
import { always, Scene } from "./testing/scene.ts";

/**
 * Before the first measure, and between the two; a daemon at rest takes an hour for 360. What is loaded when it is first
 * needed is there by then.
 */
const looks = Number(process.env["BPFLEET_REST_LOOKS"] ?? 500);
const interfaces = 4;
/** Caches and compiled code settle; a leak of one object a look would be far more. */
const slackBytes = 512 << 10;

test("startDaemon holds no more after hundreds of looks at what is in force", async (t) => {
  await using scene = await Scene.make();
  const names = Array.from({ length: interfaces }, (_, at) => `d${at}`);
  for (const name of names)
    scene.sandbox.ip(scene.far, "link", "add", name, "type", "veth", "peer", "name", `p${name}`);
  await using daemon = await scene.start({ driftSeconds: 0.005, countsLooks: true });
  const filters = names.flatMap((name): readonly TestFilter[] => [
    { name: `${name}-a`, interface: name, blacklist: [always] },
    { name: `${name}-b`, interface: name, hook: "tc-ingress", blacklist: [always] },
  ]);
  const items = await daemon.apply(filters);
  assert.deepEqual(
    items?.filter(({ state }) => state !== "in-force"),
    [],
  );
  const early = await daemon.holdingsAfter(looks);
  const late = await daemon.holdingsAfter(2 * looks);
  const told = JSON.stringify([early, late]);
  assert.ok(late.heapBytes - early.heapBytes < slackBytes, told);
  assert.ok(late.externalBytes - early.externalBytes < slackBytes, told);
  assert.ok(late.descriptors - early.descriptors <= 2, told);
  t.diagnostic(told);
});
