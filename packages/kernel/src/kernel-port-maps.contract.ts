import assert from "node:assert/strict";
import { isKeyed, noEntries, packEntries } from "./entries.ts";
import { mapIdentity, renderIdentity } from "./identity.ts";
import {
  bytes,
  counts,
  hex,
  indexFirstCpu,
  list,
  mapSpec,
  names,
  rejects,
  type Contract,
} from "./kernel-port-setup.contract.ts";
import type { MapDefinition, MapSpec } from "./specs.ts";

export function mapContract(contract: Contract): void {
  contract("createMap pins a map that observe shows, once however often it is called", async (port) => {
    const spec = mapSpec("test/a.b/c", counts);
    await port.createMap(spec);
    const [first] = (await port.observe()).maps;
    await port.createMap(spec);
    const [again, ...others] = (await port.observe()).maps;
    assert.equal(others.length, 0);
    assert.equal(again?.mapId, first?.mapId);
    assert.deepEqual({ key: again?.key, generation: again?.generation }, mapIdentity(spec));
    assert.deepEqual(again?.definition, counts);
  });

  for (const type of [
    "hash",
    "array",
    "lru_hash",
    "lpm_trie",
    "percpu_hash",
    "percpu_array",
    "lru_percpu_hash",
  ] as const) {
    contract(`readMap gives what createMap filled a ${type} with`, async (port) => {
      const isArray = type.endsWith("array");
      const definition: MapDefinition = {
        type,
        keySize: type === "lpm_trie" ? 8 : 4,
        valueSize: 4,
        maxEntries: isArray ? 2 : 64,
        flags: type === "lpm_trie" ? 1 : 0,
      };
      const first = type === "lpm_trie" ? "180000000a0a0a00" : "00000000";
      const second = type === "lpm_trie" ? "200000000a0a0b01" : "01000000";
      const wanted = packEntries([
        [first, bytes("01020304")],
        [second, bytes("0a0b0c0d")],
      ]);
      const spec = mapSpec("test/filled", definition, { kind: "kept", entries: wanted, prune: false });
      await port.createMap(spec);
      const read = await port.readMap(mapIdentity(spec));
      const found = indexFirstCpu(read, 4);
      assert.deepEqual(
        found,
        new Map([
          [first, "01020304"],
          [second, "0a0b0c0d"],
        ]),
      );
      if (type.includes("percpu")) {
        assert.ok(read !== undefined);
        const stride = read.values.length / read.count;
        assert.equal(stride % 8, 0, "each CPU's value is padded to 8 bytes");
        for (let at = 0; at < read.values.length; at += stride) {
          assert.deepEqual(
            read.values.slice(at + stride - 8, at + stride),
            read.values.slice(at, at + 8),
            "all CPUs have it",
          );
        }
      }
    });
  }

  for (const type of [
    "stack",
    "queue",
    "ringbuf",
    "perf_event_array",
    "prog_array",
    "devmap",
    "cgroup_array",
    "sockhash",
    "sockmap",
  ] as const) {
    contract(`createMap creates a ${type}`, async (port) => {
      const definition = unkeyed(type);
      await port.createMap(mapSpec(`test/${type}`, definition));
      assert.deepEqual(
        (await port.observe()).maps.map((map) => map.definition),
        [definition],
      );
    });
  }

  contract("createMap refuses more entries than fit, and leaves nothing behind", async (port) => {
    const entries = packEntries(Array.from({ length: 5 }, (_, at) => [`0${at}000000`, bytes("00000000")] as const));
    await rejects(port.createMap(mapSpec("test/full", list, { kind: "kept", entries, prune: false })), "full");
    assert.deepEqual((await port.observe()).maps, []);
  });

  contract("createMap refuses a definition that no kernel takes", async (port) => {
    await rejects(port.createMap(mapSpec("test/bad", { ...list, keySize: 0 })), "invalid");
    assert.deepEqual((await port.observe()).maps, []);
  });

  contract("createMap seals: contents are there, and writes are refused", async (port) => {
    const entries = packEntries([["01000000", bytes("02000000")]]);
    const spec = mapSpec("test/sealed", list, { kind: "sealed", digest: "d1", entries });
    await port.createMap(spec);
    await rejects(port.writeMap(mapIdentity(spec), entries, noEntries), "invalid");
    assert.deepEqual(indexFirstCpu(await port.readMap(mapIdentity(spec)), 4), new Map([["01000000", "02000000"]]));
  });

  contract("createMap leaves counters of rules writable although their rules are sealed", async (port) => {
    const base: MapDefinition = { type: "array", keySize: 4, valueSize: 24, maxEntries: 2, flags: 0 };
    const spec: MapSpec = {
      ...mapSpec("test/base", base, { kind: "sealed", digest: "d1", entries: noEntries }),
      carries: "rule-base",
    };
    await port.createMap(spec);
    await port.writeMap(mapIdentity(spec), packEntries([["01000000", new Uint8Array(24).fill(1)]]), noEntries);
    const read = await port.readMap(mapIdentity(spec));
    assert.equal(hex(read?.values.slice(24)), "01".repeat(24));
  });

  contract("createMap keeps generations of one key apart", async (port) => {
    const one = mapSpec("test/list", list, {
      kind: "sealed",
      digest: "d1",
      entries: packEntries([["01000000", bytes("01000000")]]),
    });
    const two = mapSpec("test/list", list, {
      kind: "sealed",
      digest: "d2",
      entries: packEntries([["02000000", bytes("02000000")]]),
    });
    await port.createMap(one);
    await port.createMap(two);
    assert.deepEqual(
      names((await port.observe()).maps),
      [one, two].map((spec) => renderIdentity(mapIdentity(spec))).toSorted(),
    );
    await port.removeMap(mapIdentity(one));
    assert.deepEqual(names((await port.observe()).maps), [renderIdentity(mapIdentity(two))]);
    assert.deepEqual(indexFirstCpu(await port.readMap(mapIdentity(two)), 4), new Map([["02000000", "02000000"]]));
  });

  contract("createMap takes keys of any length and any character", async (port) => {
    const keys = ["test/ü.%@~ #/x", `test/${"long.".repeat(80)}a`, `test/${"long.".repeat(80)}b`];
    const specs = keys.map((key) => mapSpec(key, counts));
    for (const spec of specs) await port.createMap(spec);
    assert.deepEqual(
      names((await port.observe()).maps),
      specs.map((spec) => renderIdentity(mapIdentity(spec))).toSorted(),
    );
  });

  contract("writeMap puts and deletes, also in a full map", async (port) => {
    const full = Array.from({ length: 4 }, (_, at) => [`0${at}000000`, bytes("00000000")] as const);
    const spec = mapSpec("test/list", list, { kind: "kept", entries: packEntries(full), prune: false });
    await port.createMap(spec);
    await port.writeMap(
      mapIdentity(spec),
      packEntries([["09000000", bytes("09000000")]]),
      packEntries([["00000000", new Uint8Array(0)]]),
    );
    const found = indexFirstCpu(await port.readMap(mapIdentity(spec)), 4);
    assert.deepEqual([...found.keys()].toSorted(), ["01000000", "02000000", "03000000", "09000000"]);
    await port.writeMap(mapIdentity(spec), noEntries, packEntries([["77000000", new Uint8Array(0)]]));
  });

  contract("writeMap refuses what does not fit before it changes anything", async (port) => {
    const spec = mapSpec("test/list", list, {
      kind: "kept",
      entries: packEntries([["00000000", bytes("01000000")]]),
      prune: false,
    });
    await port.createMap(spec);
    const tooMany = packEntries(Array.from({ length: 5 }, (_, at) => [`0${at}000000`, bytes("00000000")] as const));
    await rejects(port.writeMap(mapIdentity(spec), tooMany, noEntries), "full");
    assert.deepEqual(indexFirstCpu(await port.readMap(mapIdentity(spec)), 4), new Map([["00000000", "01000000"]]));
    const array = mapSpec("test/array", counts);
    await port.createMap(array);
    await rejects(
      port.writeMap(
        mapIdentity(array),
        packEntries([
          ["00000000", new Uint8Array(8).fill(1)],
          ["04000000", new Uint8Array(8)],
        ]),
        noEntries,
      ),
      "full",
    );
    assert.equal(hex((await port.readMap(mapIdentity(array)))?.values), "00".repeat(32));
  });

  contract("readMap, writeMap and removeMap know a map that is not there", async (port) => {
    const gone = mapIdentity(mapSpec("test/gone", list));
    assert.equal(await port.readMap(gone), undefined);
    await rejects(port.writeMap(gone, noEntries, noEntries), "not-found");
    await port.removeMap(gone);
  });

  contract("readMap refuses a map whose entries cannot be listed", async (port) => {
    const spec = mapSpec("test/ring", unkeyed("ringbuf"));
    await port.createMap(spec);
    await rejects(port.readMap(mapIdentity(spec)), "not-supported");
  });

  contract("pinMap pins for the user, pins again what was removed, and unpinMap ends it", async (port, kernel) => {
    const path = `${kernel.userPins}/blacklist`;
    const spec = mapSpec("test/list", list);
    await port.createMap(spec);
    const identity = mapIdentity(spec);
    await port.pinMap(identity, path);
    await port.pinMap(identity, path);
    const [map] = (await (await kernel.open()).observe()).maps;
    assert.deepEqual(map?.pinPaths, [path]);
    assert.equal(await kernel.pinnedId(path), map?.mapId);
    await port.unpinMap(identity, path);
    assert.equal(await kernel.pinnedId(path), undefined);
    assert.deepEqual((await port.observe()).maps[0]?.pinPaths, []);
    await port.pinMap(identity, path);
    await port.removeMap(identity);
    assert.equal(await kernel.pinnedId(path), undefined);
  });

  contract("pinMap hands a path over from one generation to the next", async (port, kernel) => {
    const path = `${kernel.userPins}/blacklist`;
    const one = mapSpec("test/list", list);
    const two = mapSpec("test/list", { ...list, maxEntries: 8 });
    for (const spec of [one, two]) {
      await port.createMap(spec);
      await port.pinMap(mapIdentity(spec), path);
    }
    const { maps } = await port.observe();
    const holder = maps.find((map) => map.pinPaths.includes(path));
    assert.equal(holder?.generation, mapIdentity(two).generation);
    assert.equal(await kernel.pinnedId(path), holder?.mapId);
    await port.removeMap(mapIdentity(one));
    assert.equal(await kernel.pinnedId(path), holder?.mapId);
  });

  contract("pinMap leaves what is not ours alone, and wants a bpffs", async (port, kernel) => {
    const path = `${kernel.userPins}/theirs`;
    await kernel.pinForeign(path);
    const before = await kernel.pinnedId(path);
    const spec = mapSpec("test/list", list);
    await port.createMap(spec);
    await rejects(port.pinMap(mapIdentity(spec), path), "exists");
    await port.removeMap(mapIdentity(spec));
    assert.equal(await kernel.pinnedId(path), before);
    await port.createMap(spec);
    await rejects(port.pinMap(mapIdentity(spec), "/tmp/not-a-bpffs/list"), "invalid");
  });
}

function unkeyed(type: MapDefinition["type"]): MapDefinition {
  assert.ok(!isKeyed(type));
  if (type === "stack" || type === "queue") return { type, keySize: 0, valueSize: 4, maxEntries: 4, flags: 0 };
  if (type === "ringbuf") return { type, keySize: 0, valueSize: 0, maxEntries: 4096, flags: 0 };
  return { type, keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 };
}
