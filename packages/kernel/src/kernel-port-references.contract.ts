import assert from "node:assert/strict";
import { noEntries, packEntries, slotsOf } from "./entries.ts";
import { mapIdentity, renderIdentity } from "./identity.ts";
import { bytes, indexFirstCpu, list, mapSpec, rejects, type Contract } from "./kernel-port-setup.contract.ts";
import type { KernelPort, MapIdentity } from "./port.ts";
import { mapFlags, type MapDefinition, type MapSpec } from "./specs.ts";

/** Maps that refer to maps. */
export function referenceContract(contract: Contract): void {
  for (const type of ["array_of_maps", "hash_of_maps"] as const) {
    contract(`putReference puts, replaces and dropReference empties slots of a ${type}`, async (port, kernel) => {
      const outer = referring(lines(1), type);
      const [one, two] = [sealed("one", lines(2)), sealed("two", lines(64))];
      for (const spec of [outer, one, two]) await port.createMap(spec);
      const into = mapIdentity(outer);
      assert.deepEqual(await slots(port, into), []);
      await port.putReference(outer, 1, mapIdentity(one));
      await port.putReference(outer, 1, mapIdentity(one));
      await port.putReference(outer, 3, mapIdentity(one));
      assert.deepEqual(await slots(await kernel.open(), into), [`1 ${id(one)}`, `3 ${id(one)}`]);
      await port.putReference(outer, 1, mapIdentity(two));
      await port.dropReference(into, 3);
      await port.dropReference(into, 3);
      await port.dropReference(into, 2);
      assert.deepEqual(await slots(port, into), [`1 ${id(two)}`]);
      assert.deepEqual((await port.observe()).maps.find((map) => map.key === outer.key)?.definition, outer.definition);
    });
  }

  contract("putReference takes what looks like the maps it was made for, and refuses anything else", async (port) => {
    const cases: readonly (readonly [inner: MapDefinition, put: MapDefinition, isTaken: boolean])[] = [
      [lines(1), lines(300), true],
      [lines(4), lines(2), true],
      [lines(4), { ...lines(4), valueSize: 8 }, false],
      [lines(4), { ...lines(4), flags: mapFlags.innerMap }, false],
      [fixed(4), fixed(4), true],
      [fixed(4), fixed(8), false],
      [fixed(4), list, false],
      [hits(4), hits(4), true],
      [hits(4), hits(8), false],
      [hits(4), hits(2), false],
      [list, { ...list, maxEntries: 9 }, true],
    ];
    for (const [at, [inner, put, isTaken]] of cases.entries()) {
      const outer = { ...referring(inner), key: `test/outer${at}` };
      const map = mapSpec(`test/inner${at}`, put);
      for (const spec of [outer, map]) await port.createMap(spec);
      const putting = port.putReference(outer, 0, mapIdentity(map));
      if (isTaken) await putting;
      else await rejects(putting, "invalid");
      assert.deepEqual(await slots(port, mapIdentity(outer)), isTaken ? [`0 ${id(map)}`] : []);
    }
  });

  contract("putReference takes per-CPU arrays of any size where its programs ask the map itself", async (port) => {
    const outer = referring(hits(1));
    const free = { ...outer, contents: { ...outer.contents, takesAnySize: true } } as MapSpec;
    assert.deepEqual(mapIdentity(free), mapIdentity(outer));
    const [many, other] = [mapSpec("test/many", hits(300)), mapSpec("test/other", { ...hits(1), valueSize: 8 })];
    for (const spec of [free, many, other]) await port.createMap(spec);
    await port.putReference(free, 0, mapIdentity(many));
    await rejects(port.putReference(free, 0, mapIdentity(other)), "invalid");
    assert.deepEqual(await slots(port, mapIdentity(free)), [`0 ${id(many)}`]);
  });

  contract("putReference knows slots and maps that are not there", async (port) => {
    const [outer, inner] = [referring(lines(1)), sealed("one", lines(2))];
    const gone = { key: "test/gone", generation: "g" };
    const notReferring = mapSpec("test/list", list);
    for (const spec of [outer, inner, notReferring]) await port.createMap(spec);
    const own = mapIdentity(inner);
    await rejects(port.putReference(outer, 4, own), "full");
    await rejects(port.putReference(outer, 0, gone), "not-found");
    await rejects(port.putReference({ ...outer, key: "test/gone" }, 0, own), "not-found");
    await rejects(port.putReference(notReferring, 0, own), "invalid");
    await rejects(port.dropReference(gone, 0), "not-found");
    assert.deepEqual(await slots(port, mapIdentity(outer)), []);
  });

  contract("createMap of a map that refers knows it by what it takes, not by what is in it", async (port) => {
    const outer = referring(lines(1));
    await port.createMap(outer);
    const filled = { ...outer, contents: { ...outer.contents, entries: [{ slot: 0, map: "test/one" }] } } as MapSpec;
    assert.deepEqual(mapIdentity(filled), mapIdentity(outer));
    assert.notDeepEqual(mapIdentity(referring(lines(2))), mapIdentity(outer));
    await rejects(port.createMap({ ...referring(lines(1)), key: "test/no", definition: fixed(4) }), "invalid");
    assert.equal((await port.observe()).maps.length, 1);
  });

  contract("createMap fills and seals an array through its memory as it does without", async (port) => {
    for (const valueSize of [64, 4]) {
      const definition: MapDefinition = { ...lines(40), valueSize };
      const places = [...Array.from({ length: 20 }, (_, at) => at), 37, 25];
      const entries = packEntries(
        places.map((at) => [`${at.toString(16).padStart(2, "0")}000000`, new Uint8Array(valueSize).fill(at + 1)]),
      );
      const spec = mapSpec(`test/memory${valueSize}`, definition, { kind: "sealed", digest: "d", entries });
      await port.createMap(spec);
      const read = indexFirstCpu(await port.readMap(mapIdentity(spec)), valueSize);
      for (let at = 0; at < definition.maxEntries; at++) {
        const byte = (places.includes(at) ? at + 1 : 0).toString(16).padStart(2, "0");
        assert.equal(read.get(`${at.toString(16).padStart(2, "0")}000000`), byte.repeat(valueSize), `entry ${at}`);
      }
      await rejects(port.writeMap(mapIdentity(spec), entries, noEntries), "invalid");
      const beyond = packEntries([["28000000", bytes("00".repeat(valueSize))]]);
      await rejects(
        port.createMap({ ...spec, key: "test/beyond", contents: { kind: "sealed", digest: "e", entries: beyond } }),
        "full",
      );
    }
  });

  contract("removeMap of what a slot refers to leaves it there", async (port) => {
    const [outer, inner] = [referring(lines(1)), sealed("one", lines(2))];
    for (const spec of [outer, inner]) await port.createMap(spec);
    await port.putReference(outer, 0, mapIdentity(inner));
    await port.removeMap(mapIdentity(inner));
    const entries = await port.readMap(mapIdentity(outer));
    assert.equal(entries?.count, 1);
    await port.removeMap(mapIdentity(outer));
    assert.deepEqual((await port.observe()).maps, []);
  });
}

function lines(maxEntries: number): MapDefinition {
  return { type: "array", keySize: 4, valueSize: 64, maxEntries, flags: mapFlags.innerMap | mapFlags.mmapable };
}

function fixed(maxEntries: number): MapDefinition {
  return { type: "array", keySize: 4, valueSize: 8, maxEntries, flags: 0 };
}

function hits(maxEntries: number): MapDefinition {
  return { type: "percpu_array", keySize: 4, valueSize: 16, maxEntries, flags: 0 };
}

function referring(inner: MapDefinition, type: MapDefinition["type"] = "array_of_maps"): MapSpec {
  const definition: MapDefinition = { type, keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 };
  return mapSpec("test/outer", definition, { kind: "refers", inner, entries: [] });
}

function sealed(key: string, definition: MapDefinition): MapSpec {
  return mapSpec(`test/${key}`, definition, { kind: "sealed", digest: key, entries: noEntries });
}

function id(spec: MapSpec): string {
  return renderIdentity(mapIdentity(spec));
}

async function slots(port: KernelPort, identity: MapIdentity): Promise<string[]> {
  const entries = await port.readMap(identity);
  assert.ok(entries !== undefined);
  const { maps } = await port.observe();
  const names = new Map(maps.map((map) => [map.mapId, renderIdentity(map)]));
  return [...slotsOf(entries)].map(([slot, mapId]) => `${slot} ${names.get(mapId)}`).toSorted();
}
