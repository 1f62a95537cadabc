import { KernelError, type ErrorCode } from "@bpfleet/base";
import assert from "node:assert/strict";
import { test } from "node:test";
import { isKeyed, noEntries, packEntries } from "./entries.ts";
import { hookGeneration, mapIdentity, programIdentity, renderIdentity } from "./identity.ts";
import type { ChainMember, HookRequest, KernelPort, MapIdentity, ObservedKernel } from "./port.ts";
import { renderHookKey } from "./specs.ts";
import type { GlobalValue, HookPoint, MapContents, MapDefinition, MapEntries, MapSpec, ProgramSpec } from "./specs.ts";

/** A kernel to try a port on, all of it for one test. */
export interface ContractHarness extends AsyncDisposable {
  /** Another port over the same state, as a restarted process has. */
  open(): Promise<KernelPort>;
  /** Takes XDP in the driver, and tc. */
  readonly interface: string;
  /** Takes XDP only in the generic path. */
  readonly genericInterface: string;
  removeInterface(): Promise<void>;
  addInterface(): Promise<void>;
  /** Of cgroup v2. */
  readonly cgroup: string;
  /** Somebody else attaches an XDP program to `interface`. */
  occupy(): Promise<{ readonly id: number; readonly name: string }>;
  /** A directory on a bpffs that is the user's. */
  readonly userPins: string;
  /** Somebody else pins something there. */
  pinForeign(path: string): Promise<void>;
  /** What is pinned there: the id of a map, or undefined. */
  pinnedId(path: string): Promise<number | undefined>;
  /**
   * An object with the programs `count_xdp`, `count_tc`, `count_skb`: each adds 1 to entry 0 of map
   * `counts`, writes the global `mark` to its private map `scratch` and returns the global `verdict`;
   * none touches map `list`.
   */
  readonly object: { readonly name: string; readonly digest: string };
}

const counts: MapDefinition = { type: "array", keySize: 4, valueSize: 8, maxEntries: 4, flags: 0 };
const list: MapDefinition = { type: "hash", keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 };
const packet = Uint8Array.from({ length: 64 }, (_, at) => (at === 12 ? 8 : at === 14 ? 0x45 : 0));

/** Registers the tests that every kernel port passes; `make` sets up a kernel of its own for each. */
export function kernelPortContract(name: string, make: () => Promise<ContractHarness>): void {
  const contract = (sentence: string, run: (port: KernelPort, kernel: ContractHarness) => Promise<void>): void => {
    test(`${name}: ${sentence}`, async () => {
      await using kernel = await make();
      await run(await kernel.open(), kernel);
    });
  };

  contract("observe shows nothing before anything is done", async (port) => {
    assert.deepEqual(await port.observe(), { maps: [], programs: [], hooks: [] });
  });

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

  for (const type of ["hash", "array", "lru_hash", "lpm_trie", "percpu_hash", "percpu_array", "lru_percpu_hash"] as const) {
    contract(`readMap gives what createMap filled a ${type} with`, async (port) => {
      const isArray = type.endsWith("array");
      const definition: MapDefinition = {
        type, keySize: type === "lpm_trie" ? 8 : 4, valueSize: 4, maxEntries: isArray ? 2 : 64, flags: type === "lpm_trie" ? 1 : 0,
      };
      const first = type === "lpm_trie" ? "180000000a0a0a00" : "00000000";
      const second = type === "lpm_trie" ? "200000000a0a0b01" : "01000000";
      const wanted = packEntries([[first, bytes("01020304")], [second, bytes("0a0b0c0d")]]);
      const spec = mapSpec("test/filled", definition, { kind: "kept", entries: wanted, prune: false });
      await port.createMap(spec);
      const read = await port.readMap(mapIdentity(spec));
      const found = indexFirstCpu(read, 4);
      assert.deepEqual(found, new Map([[first, "01020304"], [second, "0a0b0c0d"]]));
      if (type.includes("percpu")) {
        assert.ok(read !== undefined);
        const stride = read.values.length / read.count;
        assert.equal(stride % 8, 0, "each CPU's value is padded to 8 bytes");
        for (let at = 0; at < read.values.length; at += stride) {
          assert.deepEqual(read.values.slice(at + stride - 8, at + stride), read.values.slice(at, at + 8), "all CPUs have it");
        }
      }
    });
  }

  for (const type of ["stack", "queue", "ringbuf", "perf_event_array", "prog_array", "devmap", "cgroup_array", "sockhash", "sockmap"] as const) {
    contract(`createMap creates a ${type}`, async (port) => {
      const definition = unkeyed(type);
      await port.createMap(mapSpec(`test/${type}`, definition));
      assert.deepEqual((await port.observe()).maps.map((map) => map.definition), [definition]);
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
    const spec: MapSpec = { ...mapSpec("test/base", base, { kind: "sealed", digest: "d1", entries: noEntries }), carries: "rule-base" };
    await port.createMap(spec);
    await port.writeMap(mapIdentity(spec), packEntries([["01000000", new Uint8Array(24).fill(1)]]), noEntries);
    const read = await port.readMap(mapIdentity(spec));
    assert.equal(hex(read?.values.slice(24)), "01".repeat(24));
  });

  contract("createMap keeps generations of one key apart", async (port) => {
    const one = mapSpec("test/list", list, { kind: "sealed", digest: "d1", entries: packEntries([["01000000", bytes("01000000")]]) });
    const two = mapSpec("test/list", list, { kind: "sealed", digest: "d2", entries: packEntries([["02000000", bytes("02000000")]]) });
    await port.createMap(one);
    await port.createMap(two);
    assert.deepEqual(names((await port.observe()).maps), [one, two].map((spec) => renderIdentity(mapIdentity(spec))).toSorted());
    await port.removeMap(mapIdentity(one));
    assert.deepEqual(names((await port.observe()).maps), [renderIdentity(mapIdentity(two))]);
    assert.deepEqual(indexFirstCpu(await port.readMap(mapIdentity(two)), 4), new Map([["02000000", "02000000"]]));
  });

  contract("createMap takes keys of any length and any character", async (port) => {
    const keys = ["test/ü.%@~ #/x", `test/${"long.".repeat(80)}a`, `test/${"long.".repeat(80)}b`];
    const specs = keys.map((key) => mapSpec(key, counts));
    for (const spec of specs) await port.createMap(spec);
    assert.deepEqual(names((await port.observe()).maps), specs.map((spec) => renderIdentity(mapIdentity(spec))).toSorted());
  });

  contract("writeMap puts and deletes, also in a full map", async (port) => {
    const full = Array.from({ length: 4 }, (_, at) => [`0${at}000000`, bytes("00000000")] as const);
    const spec = mapSpec("test/list", list, { kind: "kept", entries: packEntries(full), prune: false });
    await port.createMap(spec);
    await port.writeMap(mapIdentity(spec), packEntries([["09000000", bytes("09000000")]]), packEntries([["00000000", new Uint8Array(0)]]));
    const found = indexFirstCpu(await port.readMap(mapIdentity(spec)), 4);
    assert.deepEqual([...found.keys()].toSorted(), ["01000000", "02000000", "03000000", "09000000"]);
    await port.writeMap(mapIdentity(spec), noEntries, packEntries([["77000000", new Uint8Array(0)]]));
  });

  contract("writeMap refuses what does not fit before it changes anything", async (port) => {
    const spec = mapSpec("test/list", list, { kind: "kept", entries: packEntries([["00000000", bytes("01000000")]]), prune: false });
    await port.createMap(spec);
    const tooMany = packEntries(Array.from({ length: 5 }, (_, at) => [`0${at}000000`, bytes("00000000")] as const));
    await rejects(port.writeMap(mapIdentity(spec), tooMany, noEntries), "full");
    assert.deepEqual(indexFirstCpu(await port.readMap(mapIdentity(spec)), 4), new Map([["00000000", "01000000"]]));
    const array = mapSpec("test/array", counts);
    await port.createMap(array);
    await rejects(port.writeMap(mapIdentity(array), packEntries([["00000000", new Uint8Array(8).fill(1)], ["04000000", new Uint8Array(8)]]), noEntries), "full");
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

  const points: readonly { readonly point: (kernel: ContractHarness) => HookPoint; readonly entry: string; readonly pass: number }[] = [
    { point: (kernel) => ({ hook: "xdp", interface: kernel.interface }), entry: "count_xdp", pass: 2 },
    { point: (kernel) => ({ hook: "tc", interface: kernel.interface, direction: "ingress" }), entry: "count_tc", pass: -1 },
    { point: (kernel) => ({ hook: "tc", interface: kernel.interface, direction: "egress" }), entry: "count_tc", pass: -1 },
  ];
  for (const legacyTc of [false, true]) {
    for (const { point: pointIn, entry, pass } of points) {
      if (legacyTc && entry === "count_xdp") continue;
      const where = `${entry} ${pointIn === points[2]?.point ? "egress" : "ingress"}${legacyTc ? " by cls_bpf" : ""}`;

      contract(`setHook attaches, replaces, makes a chain, goes back and clears: ${where}`, async (port, kernel) => {
        const point = pointIn(kernel);
        const one = (await loaded(port, kernel, entry, { verdict: pass }, "one")).member;
        const two = (await loaded(port, kernel, entry, { verdict: pass }, "two")).member;
        const key = renderHookKey(point);
        const set = async (members: readonly ChainMember[]) => {
          const result = await port.setHook(request(point, members, { legacyTc }));
          const [hook, ...others] = (await (await kernel.open()).observe()).hooks;
          assert.equal(others.length, 0);
          assert.ok(hook !== undefined);
          assert.equal(hook.key, key);
          assert.deepEqual(hook.point, point);
          assert.ok(hook.isAttached);
          assert.equal(hook.generation, hookGeneration(point, members));
          assert.deepEqual(hook.members, await programIds(port, members));
          assert.deepEqual({ ...hook.result, reason: undefined }, { ...result, reason: undefined });
          return hook;
        };
        const direct = await set([one]);
        assert.equal(direct.result.chain, "direct");
        assert.equal(await port.readHook(key), undefined);
        assert.equal((await set([one])).programId, direct.programId);
        const replaced = await set([two]);
        assert.equal(replaced.linkId, direct.linkId, "one link all along");
        const chain = await set([proceed(one, pass), proceed(two, pass)]);
        assert.equal(chain.result.chain, "chain");
        assert.deepEqual(chain.result.memberModes, ["stub", "stub"]);
        assert.equal(chain.linkId, direct.linkId);
        assert.equal((await port.readHook(key))?.generation, chain.generation);
        assert.equal((await set([proceed(one, pass), proceed(two, pass)])).programId, chain.programId);
        const reordered = await set([proceed(two, pass), proceed(one, pass)]);
        assert.notEqual(reordered.generation, chain.generation);
        const inline = await set([proceed(two, pass, "inline"), proceed(one, pass, "inline")]);
        assert.deepEqual(inline.result.memberModes, ["inline", "inline"]);
        assert.equal((await set([one])).result.chain, "direct");
        await port.clearHook(key);
        await port.clearHook(key);
        assert.deepEqual((await port.observe()).hooks, []);
        const again = await set([one, two].map((member) => proceed(member, pass)));
        assert.equal(again.result.chain, "chain");
      });
    }
  }

  contract("setHook says tcx or cls_bpf, native or skb", async (port, kernel) => {
    const xdp = (await loaded(port, kernel, "count_xdp")).member;
    const tc = (await loaded(port, kernel, "count_tc")).member;
    assert.equal((await port.setHook(request({ hook: "xdp", interface: kernel.interface }, [xdp]))).mode, "native");
    const ingress: HookPoint = { hook: "tc", interface: kernel.interface, direction: "ingress" };
    const egress: HookPoint = { hook: "tc", interface: kernel.interface, direction: "egress" };
    assert.equal((await port.setHook(request(ingress, [tc]))).mode, "tcx");
    assert.equal((await port.setHook(request(egress, [tc], { legacyTc: true }))).mode, "cls_bpf");
    const generic: HookPoint = { hook: "xdp", interface: kernel.genericInterface };
    await rejects(port.setHook(request(generic, [xdp])), "not-supported");
    assert.equal((await port.setHook(request(generic, [xdp], { mode: "skb" }))).mode, "skb");
    assert.equal((await port.setHook(request(generic, [xdp]))).mode, "skb", "what is in force stays");
  });

  contract("setHook attaches to a cgroup, for each program its own link", async (port, kernel) => {
    const one = (await loaded(port, kernel, "count_skb", { verdict: 1 }, "one")).member;
    const two = (await loaded(port, kernel, "count_skb", { verdict: 1 }, "two")).member;
    const points = [one, two].map(
      (member): HookPoint => ({ hook: "cgroup", path: kernel.cgroup, attach: "egress", member: member.spec.key }),
    );
    for (const [index, member] of [one, two].entries()) {
      const result = await port.setHook(request(points[index] as HookPoint, [member]));
      assert.deepEqual(result, { mode: "cgroup", chain: "direct", memberModes: [] });
    }
    const { hooks } = await (await kernel.open()).observe();
    assert.deepEqual(hooks.map((hook) => hook.key).toSorted(), points.map(renderHookKey).toSorted());
    assert.ok(hooks.every((hook) => hook.isAttached));
    await rejects(port.setHook(request({ hook: "cgroup", path: `${kernel.cgroup}/gone`, attach: "egress", member: "x" }, [one])), "not-found");
  });

  contract("setHook names the foreign program that holds the hook, and leaves it", async (port, kernel) => {
    const foreign = await kernel.occupy();
    const { member } = await loaded(port, kernel, "count_xdp");
    const error = await rejects(port.setHook(request({ hook: "xdp", interface: kernel.interface }, [member])), "busy");
    assert.match(error.message, new RegExp(`${foreign.id}\\b`));
    assert.match(error.message, new RegExp(foreign.name));
    assert.deepEqual((await port.observe()).hooks, []);
    const { programs } = await port.inventory();
    assert.equal(programs.find((program) => program.id === foreign.id)?.ours, undefined);
    await port.removeEverything();
    assert.ok((await port.inventory()).programs.some((program) => program.id === foreign.id));
  });

  contract("setHook says when an interface or a program is not there", async (port, kernel) => {
    const { member } = await loaded(port, kernel, "count_xdp");
    const error = await rejects(port.setHook(request({ hook: "xdp", interface: "nosuch0" }, [member])), "interface-missing");
    assert.equal(error.retry, "when-changed");
    const gone = { ...member, identity: { ...member.identity, generation: "gone" } };
    await rejects(port.setHook(request({ hook: "xdp", interface: kernel.interface }, [gone])), "not-found");
    assert.deepEqual((await port.observe()).hooks, []);
  });

  for (const hook of ["xdp", "tc"] as const) {
    contract(`setHook attaches again to an interface that came back: ${hook}`, async (port, kernel) => {
      const { member } = await loaded(port, kernel, `count_${hook}`);
      const point: HookPoint =
        hook === "xdp" ? { hook, interface: kernel.interface } : { hook, interface: kernel.interface, direction: "ingress" };
      await port.setHook(request(point, [member]));
      await kernel.removeInterface();
      assert.deepEqual((await port.observe()).hooks.map((each) => each.isAttached), [false]);
      await rejects(port.setHook(request(point, [member])), "interface-missing");
      await kernel.addInterface();
      assert.deepEqual((await port.observe()).hooks.map((each) => each.isAttached), [false]);
      await port.setHook(request(point, [member]));
      assert.deepEqual((await port.observe()).hooks.map((each) => each.isAttached), [true]);
      await kernel.removeInterface();
      await port.clearHook(renderHookKey(point));
      assert.deepEqual((await port.observe()).hooks, []);
    });
  }

  contract("observe tells a program that was loaded again from the one that is attached", async (port, kernel) => {
    const { member } = await loaded(port, kernel, "count_xdp");
    const point: HookPoint = { hook: "xdp", interface: kernel.interface };
    await port.setHook(request(point, [member]));
    const [before] = (await port.observe()).hooks;
    await port.removeProgram(member.identity);
    await port.loadProgram(member.spec, member.identity, member.maps);
    const after = await port.observe();
    assert.deepEqual(after.hooks[0]?.members, before?.members);
    assert.notEqual(after.programs[0]?.programId, before?.members[0]);
    await port.setHook(request(point, [member]));
    assert.deepEqual((await port.observe()).hooks[0]?.members, [after.programs[0]?.programId]);
  });

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
    for (const program of programs) assert.equal(inventory.programs.find((each) => each.id === program.programId)?.ours, program.key);
    for (const hook of hooks) assert.ok(inventory.programs.find((each) => each.id === hook.programId)?.ours !== undefined);
    const links = inventory.links.filter((link) => link.ours !== undefined).map((link) => link.ours);
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

async function everyKindOfThing(port: KernelPort, kernel: ContractHarness): Promise<void> {
  const one = (await loaded(port, kernel, "count_xdp", {}, "one")).member;
  const two = (await loaded(port, kernel, "count_xdp", {}, "two")).member;
  const tc = (await loaded(port, kernel, "count_tc")).member;
  const skb = (await loaded(port, kernel, "count_skb", { verdict: 1 })).member;
  await port.pinMap(mapIdentity(mapSpec("test/counts", counts)), `${kernel.userPins}/mine`);
  await port.setHook(request({ hook: "xdp", interface: kernel.interface }, [proceed(one, 2), proceed(two, 2, "inline")]));
  await port.setHook(request({ hook: "tc", interface: kernel.interface, direction: "egress" }, [tc], { legacyTc: true }));
  await port.setHook(request({ hook: "cgroup", path: kernel.cgroup, attach: "ingress", member: skb.spec.key }, [skb]));
}

/** Maps and one program over them, in the kernel. */
async function loaded(
  port: KernelPort,
  kernel: ContractHarness,
  entry: string,
  globals: Record<string, GlobalValue> = {},
  name = "one",
): Promise<{ readonly member: ChainMember }> {
  const maps = [mapSpec("test/counts", counts), mapSpec("test/list", list, { kind: "sealed", digest: "d", entries: noEntries })];
  for (const spec of maps) await port.createMap(spec);
  const identities = new Map(maps.map((spec) => [spec.key, mapIdentity(spec)]));
  const spec: ProgramSpec = {
    key: `test/${name}/${entry}`,
    name: "contract",
    type: entry === "count_xdp" ? "xdp" : entry === "count_tc" ? "sched_cls" : "cgroup_skb",
    object: kernel.object,
    entry,
    globals,
    maps: { counts: "test/counts", list: "test/list" },
  };
  const identity = programIdentity(spec, identities);
  assert.ok(identity !== undefined);
  const used = new Map(Object.entries(spec.maps).map(([own, key]) => [own, identities.get(key) as MapIdentity]));
  await port.loadProgram(spec, identity, used);
  return { member: { spec, identity, maps: used, mode: "stub", proceedOn: [] } };
}

function mapSpec(key: string, definition: MapDefinition, contents: MapContents = { kind: "live" }): MapSpec {
  return { key, name: "contract", definition, contents };
}

function unkeyed(type: MapDefinition["type"]): MapDefinition {
  assert.ok(!isKeyed(type));
  if (type === "stack" || type === "queue") return { type, keySize: 0, valueSize: 4, maxEntries: 4, flags: 0 };
  if (type === "ringbuf") return { type, keySize: 0, valueSize: 0, maxEntries: 4096, flags: 0 };
  return { type, keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 };
}

function proceed(member: ChainMember, code: number, mode: ChainMember["mode"] = "stub"): ChainMember {
  return { ...member, mode, proceedOn: [code] };
}

function request(point: HookPoint, members: readonly ChainMember[], options: Partial<HookRequest> = {}): HookRequest {
  const key = renderHookKey(point);
  const wishes = members.map((member, at) => ({ program: member.spec.key, priority: at, proceedOn: member.proceedOn }));
  return {
    spec: { key, point, members: wishes },
    generation: hookGeneration(point, members),
    members,
    mode: "native",
    legacyTc: false,
    ...options,
  };
}

async function programIds(port: KernelPort, members: readonly ChainMember[]): Promise<number[]> {
  const { programs } = await port.observe();
  const ids = new Map(programs.map((program) => [renderIdentity(program), program.programId]));
  return members.map((member) => ids.get(renderIdentity(member.identity)) ?? 0);
}

async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<KernelError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof KernelError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(!error.message.endsWith("."));
    return error;
  }
  return assert.fail(`expected an error with code ${code}`);
}

/** Key → value on the first CPU, both in hexadecimal. */
function indexFirstCpu(entries: MapEntries | undefined, valueSize: number): Map<string, string> {
  assert.ok(entries !== undefined);
  const found: [string, string][] = [];
  const keySize = entries.keys.length / entries.count;
  const stride = entries.values.length / entries.count;
  for (let at = 0; at < entries.count; at++) {
    found.push([
      hex(entries.keys.slice(at * keySize, (at + 1) * keySize)),
      hex(entries.values.slice(at * stride, at * stride + valueSize)),
    ]);
  }
  return new Map(found.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function names(identities: readonly MapIdentity[]): string[] {
  return identities.map(renderIdentity).toSorted();
}

function sorted(observed: ObservedKernel): ObservedKernel {
  const byName = (a: MapIdentity, b: MapIdentity) => (renderIdentity(a) < renderIdentity(b) ? -1 : 1);
  return { maps: observed.maps.toSorted(byName), programs: observed.programs.toSorted(byName), hooks: observed.hooks.toSorted(byName) };
}

function bytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "hex"));
}

function hex(data: Uint8Array | undefined): string {
  assert.ok(data !== undefined);
  return Buffer.from(data).toString("hex");
}
