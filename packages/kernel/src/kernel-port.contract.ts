import assert from "node:assert/strict";
import { test } from "node:test";
import type { CounterPair } from "./action.ts";
import { carryCounters } from "./carry.ts";
import { noEntries, packEntries } from "./entries.ts";
import { mapIdentity, renderIdentity, sameIdentity } from "./identity.ts";
import { hookContract } from "./kernel-port-hooks.contract.ts";
import { mapContract } from "./kernel-port-maps.contract.ts";
import { referenceContract } from "./kernel-port-references.contract.ts";
import {
  counts,
  hex,
  list,
  loaded,
  mapSpec,
  names,
  packet,
  proceed,
  rejects,
  request,
  sorted,
  type Contract,
  type ContractHarness,
} from "./kernel-port-setup.contract.ts";
import type { KernelPort, MapIdentity } from "./port.ts";
import type { MapSpec, ProgramSpec } from "./specs.ts";

export type { ContractHarness } from "./kernel-port-setup.contract.ts";

/** Registers the tests that every kernel port passes; `make` sets up a kernel of its own for each. */
export function kernelPortContract(name: string, make: () => Promise<ContractHarness>): void {
  const contract: Contract = (sentence, run) => {
    test(`${name}: ${sentence}`, async () => {
      await using kernel = await make();
      await run(await kernel.open(), kernel);
    });
  };
  mapContract(contract);
  referenceContract(contract);
  programContract(contract);
  hookContract(contract);
  wholeContract(contract);
}

function programContract(contract: Contract): void {
  contract("loadProgram loads over shared maps, once however often it is called", async (port, kernel) => {
    const setup = await loaded(port, kernel, "count_xdp");
    await port.loadProgram(setup.member.spec, setup.member.identity, setup.member.maps);
    const { programs, maps } = await port.observe();
    assert.deepEqual(names(programs), [renderIdentity(setup.member.identity)]);
    for (const map of maps) assert.ok(programs[0]?.mapIds.includes(map.mapId), `it holds ${map.key}, used or not`);
    const next = await loaded(port, kernel, "count_xdp", { verdict: 1 });
    const after = await port.observe();
    assert.equal(after.programs.length, 2);
    assert.deepEqual(after.maps, maps);
    await port.removeProgram(setup.member.identity);
    await port.removeProgram(setup.member.identity);
    assert.deepEqual(names((await port.observe()).programs), [renderIdentity(next.member.identity)]);
  });

  contract("loadProgram says what is missing", async (port, kernel) => {
    const { member } = await loaded(port, kernel, "count_xdp");
    const load = (spec: ProgramSpec, maps: ReadonlyMap<string, MapIdentity> = member.maps) =>
      port.loadProgram(spec, { key: spec.key, generation: "other" }, maps);
    await rejects(load({ ...member.spec, object: { ...member.spec.object, name: "nothing" } }), "not-found");
    await rejects(load({ ...member.spec, object: { ...member.spec.object, digest: "0".repeat(64) } }), "stale");
    await rejects(load({ ...member.spec, entry: "nothing" }), "not-found");
    const gone = new Map([...member.maps, ["counts", { key: "test/gone", generation: "g" }] as const]);
    await rejects(load(member.spec, gone), "not-found");
    assert.equal((await port.observe()).programs.length, 1);
  });

  contract("testRun runs a twin and leaves nothing", async (port, kernel) => {
    const { member } = await loaded(port, kernel, "count_xdp");
    const before = await port.observe();
    const twin = { ...member.spec, globals: { ...member.spec.globals, verdict: 1, mark: 7 } };
    const result = await port.testRun({ spec: twin, maps: member.maps, packet, scratch: "scratch" });
    assert.equal(result.verdict, 1);
    assert.equal(new DataView(result.scratch.buffer, result.scratch.byteOffset).getUint32(0, true), 7);
    assert.deepEqual(await port.observe(), before);
  });
}

function wholeContract(contract: Contract): void {
  contract("observe shows nothing before anything is done", async (port) => {
    assert.deepEqual(await port.observe(), { maps: [], programs: [], hooks: [] });
  });

  contract(
    "carryCounters finds the counts of a rule in the next pair of maps, once however often it is done",
    async (port) => {
      const pair = async (rules: readonly number[]): Promise<CounterPair> => {
        const digest = rules.join();
        const maxEntries = rules.length + 1;
        const base = packEntries(rules.map((id, at) => [index(at + 1), words(id, 0, 0)]));
        const specs: readonly MapSpec[] = [
          {
            ...mapSpec(
              "test/hits",
              { type: "percpu_array", keySize: 4, valueSize: 16, maxEntries, flags: 0 },
              { kind: "sealed", digest, entries: noEntries },
            ),
            carries: "rule-hits",
          },
          {
            ...mapSpec(
              "test/base",
              { type: "array", keySize: 4, valueSize: 24, maxEntries, flags: 0 },
              { kind: "sealed", digest, entries: base },
            ),
            carries: "rule-base",
          },
        ];
        for (const spec of specs) await port.createMap(spec);
        const [hits, own] = specs.map(mapIdentity) as [MapIdentity, MapIdentity];
        const { maps } = await port.observe();
        return { hits, base: own, baseId: maps.find((map) => sameIdentity(map, own))?.mapId };
      };
      const old = await pair([10, 11]);
      await port.writeMap(
        old.hits,
        packEntries([
          [index(0), words(1, 60)],
          [index(2), words(3, 300)],
        ]),
        noEntries,
      );
      const hits = await port.readMap(old.hits);
      const cpus = (hits?.values.length ?? 0) / 3 / 16;
      const next = await pair([11, 12]);
      for (let time = 0; time < 2; time++) {
        await carryCounters(port, [old], next);
        const base = await port.readMap(next.base);
        assert.deepEqual(
          [...(base?.values ?? [])],
          [...words(1, cpus, 60 * cpus), ...words(11, 3 * cpus, 300 * cpus), ...words(12, 0, 0)],
        );
      }
    },
  );

  contract("observe after a restart equals observe before it", async (port, kernel) => {
    await everyKindOfThing(port, kernel);
    const before = sorted(await port.observe());
    assert.deepEqual(sorted(await (await kernel.open()).observe()), before);
    assert.equal(before.hooks.length, 3);
  });

  contract("inventory lists ours by key", async (port, kernel) => {
    await everyKindOfThing(port, kernel);
    const { maps, programs, hooks } = await port.observe();
    const inventory = await port.inventory();
    for (const map of maps) assert.equal(inventory.maps.find((each) => each.id === map.mapId)?.ours, map.key);
    for (const program of programs)
      assert.equal(inventory.programs.find((each) => each.id === program.programId)?.ours, program.key);
    for (const hook of hooks)
      assert.ok(inventory.programs.find((each) => each.id === hook.programId)?.ours !== undefined);
    const links = inventory.links.flatMap((link) => link.ours ?? []);
    assert.deepEqual(links.toSorted(), hooks.map((hook) => hook.key).toSorted());
  });

  contract("removeEverything removes all of ours, twice too", async (port, kernel) => {
    await everyKindOfThing(port, kernel);
    await port.removeEverything();
    assert.deepEqual(await (await kernel.open()).observe(), { maps: [], programs: [], hooks: [] });
    assert.equal(await kernel.pinnedId(`${kernel.userPins}/mine`), undefined);
    await port.removeEverything();
    await everyKindOfThing(port, kernel);
  });
}

function index(at: number): string {
  return hex(new Uint8Array(Uint32Array.of(at).buffer));
}

function words(...numbers: number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(numbers.map(BigInt)).buffer);
}

async function everyKindOfThing(port: KernelPort, kernel: ContractHarness): Promise<void> {
  const one = (await loaded(port, kernel, "count_xdp", {}, "one")).member;
  const two = (await loaded(port, kernel, "count_xdp", {}, "two")).member;
  const tc = (await loaded(port, kernel, "count_tc")).member;
  const skb = (await loaded(port, kernel, "count_skb", { verdict: 1 })).member;
  const refers = { kind: "refers", inner: counts, entries: [] } as const;
  const outer = mapSpec("test/outer", { ...list, type: "array_of_maps" }, refers);
  await port.createMap(outer);
  await port.putReference(outer, 1, mapIdentity(mapSpec("test/counts", counts)));
  await port.pinMap(mapIdentity(mapSpec("test/counts", counts)), `${kernel.userPins}/mine`);
  await port.setHook(
    request({ hook: "xdp", interface: kernel.interface }, [proceed(one, 2), proceed(two, 2, "inline")]),
  );
  await port.setHook(
    request({ hook: "tc", interface: kernel.interface, direction: "egress" }, [tc], { legacyTc: true }),
  );
  await port.setHook(request({ hook: "cgroup", path: kernel.cgroup, attach: "ingress", member: skb.spec.key }, [skb]));
}
