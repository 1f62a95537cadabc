import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeFacts } from "@bpfleet/kernel/testing";
import type { MapIntent } from "./intent.ts";
import { maps } from "./maps.ts";

const object = { group: "networking.fos1.io", kind: "EBPFMap", namespace: "default", name: "blacklist-map.v1-long" };
const entries = { count: 1, keys: Uint8Array.of(24, 0, 0, 0, 10, 10, 10, 0), values: Uint8Array.of(1, 0, 0, 0) };
const intent: MapIntent = {
  feature: "maps",
  origin: { object, path: "" },
  definition: { type: "lpm_trie", keySize: 8, valueSize: 4, maxEntries: 1024, flags: 1 },
  entries,
  prune: false,
  pinPath: "/sys/fs/bpf/blacklist",
  pinOrigin: { object, path: "/spec/pinPath" },
  entryPaths: ["/spec/initData/0"],
};
const facts = nodeFacts({ cpus: 1, bpffs: ["/sys/fs/bpf"] });

test("maps.plan keeps the declared entries in a map of the kernel's name length", () => {
  const plan = maps.plan([intent], facts);
  assert.deepEqual(plan.maps, [
    {
      key: "maps/default/blacklist-map.v1-long",
      name: "blacklist_map.v",
      definition: intent.definition,
      contents: { kind: "kept", entries, prune: false },
      pinPath: "/sys/fs/bpf/blacklist",
      owner: object,
    },
  ]);
  assert.deepEqual(plan.problems, []);
});

test("maps.plan serves a map without the pin that does not lie on a bpffs, and says so", () => {
  for (const bpffs of [[], ["/run/bpfd/fs"], ["/sys/fs/bp"]]) {
    const plan = maps.plan([intent], { ...facts, bpffs });
    assert.equal(plan.maps[0]?.pinPath, undefined);
    assert.deepEqual(
      plan.problems.map(({ reason, severity, origin }) => [reason, severity, origin.path]),
      [["PinPathInvalid", "waiting", "/spec/pinPath"]],
    );
  }
});

test("maps.plan gives a path to one map, and tells the others whose it is", () => {
  const other = { ...object, name: "other" };
  const rival = { ...intent, origin: { object: other, path: "" }, pinOrigin: { object: other, path: "/spec/pinPath" } };
  const plan = maps.plan([intent, rival], facts);
  assert.deepEqual(
    plan.maps.map(({ pinPath }) => pinPath),
    ["/sys/fs/bpf/blacklist", undefined],
  );
  assert.deepEqual(
    plan.problems.map(({ reason, origin, message }) => [reason, origin.object.name, message]),
    [
      [
        "PinPathTaken",
        "other",
        "pin /sys/fs/bpf/blacklist: EBPFMap default/blacklist-map.v1-long is pinned there; the map works without this pin",
      ],
    ],
  );
});

test("maps.counters counts the entries", () => {
  const [instance] = maps.plan([intent], facts).instances;
  assert.deepEqual(maps.counters(instance!, new Map([["map", entries]])).gauges, { map_entries: 1 });
  assert.deepEqual(maps.counters(instance!, new Map()).gauges, {});
});
