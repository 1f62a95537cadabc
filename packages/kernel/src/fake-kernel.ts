import { chainCounters } from "./chain/counters.ts";
import { isAlike, isKeyed, isMapOfMaps, packEntries, unlistable } from "./entries.ts";
import { missingPlace, modeAt } from "./fake-hook.ts";
import { fakeCpus, indexKey, writeFakeMap, zeroEntries } from "./fake-map.ts";
import { fakeError, FakeWorld, type FakeHook, type FakeMap, type FakeProgram } from "./fake-world.ts";
import { directGeneration, identityKey, isChain, mapIdentity, renderIdentity } from "./identity.ts";
import type {
  HookReading,
  HookRequest,
  HookResult,
  Inventory,
  KernelPort,
  KnownHooks,
  MapIdentity,
  ObservedHook,
  ObservedKernel,
  ProgramIdentity,
  TestRun,
  TestRunResult,
} from "./port.ts";
import { isInterfacePoint, parseHookKey, renderHookKey } from "./hook-point.ts";
import type { HookPoint } from "./hook-point.ts";
import type { MapEntries, MapSpec, ProgramSpec } from "./specs.ts";

/** The kernel port in memory. It passes the contract that the real kernel passes; state is all in its world. */
export class FakeKernel implements KernelPort {
  readonly world: FakeWorld;

  constructor(world: FakeWorld = new FakeWorld()) {
    this.world = world;
  }

  async observe(known?: KnownHooks): Promise<ObservedKernel> {
    const { world } = this;
    return {
      maps: [...world.maps.values()].map(({ identity, id, definition }) => ({
        ...identity,
        mapId: id,
        definition,
        pinPaths: [...world.userPins.keys()].filter(
          (path) => world.userPins.get(path) === id && world.pathPins.get(path) === id,
        ),
      })),
      programs: [...world.programs.values()].map(({ identity, id, spec, mapIds }) => ({
        ...identity,
        programId: id,
        type: spec.type,
        mapIds,
      })),
      hooks: this.#hooks().map(
        (hook) => (known?.again.has(hook.key) === false && known.hooks.find(({ key }) => key === hook.key)) || hook,
      ),
    };
  }

  #hooks(): readonly ObservedHook[] {
    const { world } = this;
    return [...world.hooks.values()].map((hook) => ({
      key: hook.key,
      point: parseHookKey(hook.key),
      generation: hook.result.chain === "chain" ? hook.generation : this.#generationOf(hook.programId),
      members: hook.members,
      isAttached: world.placeId(hook.point) === hook.placeId,
      linkId: hook.linkId,
      programId: hook.programId,
      result: hook.result,
    }));
  }

  async inventory(): Promise<Inventory> {
    const { world } = this;
    const program = (id: number, type: string, name: string, mapIds: readonly number[], ours?: string) => ({
      id,
      type,
      name,
      mapIds,
      ours,
      tag: "0".repeat(16),
      loadedAt: "1970-01-01T00:00:00.000Z",
      uid: 0,
      runCount: 0n,
      runTimeNs: 0n,
      verifiedInsns: 0,
      jitedBytes: 0,
    });
    return {
      programs: [
        ...[...world.programs.values()].map(({ id, spec, identity, mapIds }) =>
          program(id, spec.type, spec.name, mapIds, identity.key),
        ),
        ...[...world.hooks.values()]
          .filter((hook) => hook.result.chain === "chain")
          .map((hook) => program(hook.programId, "xdp", `b${hook.generation}`, [], hook.key)),
        ...[...world.foreign].map(([, { id, name }]) => program(id, "xdp", name, [])),
      ],
      maps: [...world.maps.values()].map(({ id, identity, definition: { type, ...definition } }) => ({
        id,
        type,
        name: identity.key.slice(-15),
        definition,
        ours: identity.key,
      })),
      links: [...world.hooks.values()].map((hook) => ({
        id: hook.linkId,
        type: hook.point.hook,
        programId: hook.programId,
        target: hook.key,
        ours: hook.key,
      })),
    };
  }

  async createMap(spec: MapSpec): Promise<void> {
    const identity = mapIdentity(spec);
    const pin = renderIdentity(identity);
    if (this.world.maps.has(pin)) return;
    this.#before("createMap", spec.key);
    const { definition, contents } = spec;
    if (isKeyed(definition.type) && definition.keySize * definition.valueSize * definition.maxEntries === 0) {
      throw fakeError(
        "invalid",
        `create map ${spec.key}: the kernel takes no such definition (EINVAL)`,
        "BPF_MAP_CREATE",
        "EINVAL",
      );
    }
    if (contents.kind === "refers" && !isMapOfMaps(definition.type))
      throw fakeError("invalid", `create map ${spec.key}: a ${definition.type} refers to no maps`, "BPF_MAP_CREATE");
    const isFrozen = contents.kind === "sealed" && spec.carries === undefined;
    const inner = contents.kind === "refers" ? contents.inner : undefined;
    const entries = zeroEntries(definition);
    const map: FakeMap = { id: this.world.nextId(), identity, definition, isFrozen, inner, entries };
    if ("entries" in contents && contents.kind !== "refers" && isKeyed(definition.type))
      writeFakeMap(map, contents.entries, packEntries([]));
    this.world.maps.set(pin, map);
  }

  async readMap(identity: MapIdentity): Promise<MapEntries | undefined> {
    const map = this.world.maps.get(renderIdentity(identity));
    if (map === undefined) return undefined;
    if (!isKeyed(map.definition.type) && !isMapOfMaps(map.definition.type)) {
      throw fakeError(
        "not-supported",
        `read map ${identity.key}: ${unlistable(map.definition.type)}`,
        "BPF_MAP_LOOKUP_BATCH",
      );
    }
    return packEntries(map.entries);
  }

  async writeMap(identity: MapIdentity, puts: MapEntries, deletes: MapEntries): Promise<void> {
    const map = this.#map(identity, "write");
    if (map.isFrozen)
      throw fakeError(
        "invalid",
        `write map ${identity.key}: its contents are sealed (EPERM)`,
        "BPF_MAP_UPDATE_ELEM",
        "EPERM",
      );
    this.#before("writeMap", identity.key);
    writeFakeMap(map, puts, deletes);
  }

  async putReference(spec: MapSpec, slot: number, map: MapIdentity): Promise<void> {
    const what = `put map ${map.key} into ${spec.key}[${slot}]`;
    const outer = this.#outer(mapIdentity(spec), what);
    const inner = this.#map(map, `${what}: open`);
    if (outer.definition.type === "array_of_maps" && slot >= outer.definition.maxEntries)
      throw fakeError(
        "full",
        `${what}: it has ${outer.definition.maxEntries} slots (E2BIG)`,
        "BPF_MAP_UPDATE_ELEM",
        "E2BIG",
      );
    const { contents } = spec;
    const takesAnySize = contents.kind === "refers" && contents.takesAnySize === true;
    if (outer.inner === undefined || !isAlike(outer.inner, inner.definition, takesAnySize))
      throw fakeError("invalid", `${what}: it does not look like those it takes`, "BPF_MAP_UPDATE_ELEM", "EINVAL");
    this.#before("putReference", spec.key);
    outer.entries.set(indexKey(slot), new Uint8Array(Uint32Array.of(inner.id).buffer));
  }

  async dropReference(identity: MapIdentity, slot: number): Promise<void> {
    const outer = this.#outer(identity, `empty ${identity.key}[${slot}]`);
    if (!outer.entries.has(indexKey(slot))) return;
    this.#before("dropReference", identity.key);
    outer.entries.delete(indexKey(slot));
  }

  async removeMap(identity: MapIdentity): Promise<void> {
    const map = this.world.maps.get(renderIdentity(identity));
    if (map === undefined) return;
    this.#before("removeMap", identity.key);
    this.#unpin((id) => id === map.id);
    this.world.maps.delete(renderIdentity(identity));
  }

  async pinMap(identity: MapIdentity, pinPath: string): Promise<void> {
    const map = this.#map(identity, "pin");
    const { world } = this;
    if (!world.bpffs.some((directory) => pinPath.startsWith(`${directory}/`))) {
      throw fakeError(
        "invalid",
        `pin map ${identity.key} at ${pinPath}: a pin must lie below a bpffs mount`,
        "BPF_OBJ_PIN",
      );
    }
    const holder = world.pathPins.get(pinPath);
    if (holder !== undefined && holder !== world.userPins.get(pinPath)) {
      throw fakeError(
        "exists",
        `pin map ${identity.key} at ${pinPath}: something else is pinned there (EEXIST)`,
        "BPF_OBJ_PIN",
        "EEXIST",
      );
    }
    this.#before("pinMap", identity.key);
    world.userPins.set(pinPath, map.id);
    world.pathPins.set(pinPath, map.id);
  }

  async unpinMap(identity: MapIdentity, pinPath: string): Promise<void> {
    const map = this.world.maps.get(renderIdentity(identity));
    if (map === undefined || this.world.userPins.get(pinPath) !== map.id) return;
    this.#before("unpinMap", identity.key);
    this.#unpin((id, path) => id === map.id && path === pinPath);
  }

  async readRing(identity: MapIdentity, onRecords: (records: Iterable<Uint8Array>) => void): Promise<AsyncDisposable> {
    const map = this.#map(identity, "read");
    if (map.definition.type !== "ringbuf") {
      throw fakeError("invalid", `read ring ${identity.key}: it is a ${map.definition.type}`, "RING_BUFFER_NEW");
    }
    const readers = this.world.ringReaders.get(map.id) ?? new Set();
    this.world.ringReaders.set(map.id, readers);
    readers.add(onRecords);
    return { [Symbol.asyncDispose]: async () => void readers.delete(onRecords) };
  }

  async loadProgram(
    spec: ProgramSpec,
    identity: ProgramIdentity,
    maps: ReadonlyMap<string, MapIdentity>,
  ): Promise<void> {
    if (this.world.programs.has(renderIdentity(identity))) return;
    const program = this.#verified(spec, identity, maps);
    this.#before("loadProgram", spec.key);
    this.world.programs.set(renderIdentity(identity), program);
  }

  async removeProgram(identity: ProgramIdentity): Promise<void> {
    if (!this.world.programs.has(renderIdentity(identity))) return;
    this.#before("removeProgram", identity.key);
    this.world.programs.delete(renderIdentity(identity));
  }

  async testRun(request: TestRun): Promise<TestRunResult> {
    this.#verified(request.spec, { key: request.spec.key, generation: "twin" }, request.maps);
    const { verdict, scratch } = this.world.run(request.spec, request.packet);
    return { verdict, packet: request.packet, scratch, nsPerRun: 25 };
  }

  async setHook(request: HookRequest): Promise<HookResult> {
    const { spec, generation, members, mode, isModeFixed } = request;
    const { world } = this;
    const key = identityKey(spec.key);
    const placeId = world.placeId(spec.point);
    if (placeId === undefined) throw missingPlace(spec.point);
    const programs = members.map((member) => {
      const program = world.programs.get(renderIdentity(member.identity));
      if (program === undefined)
        throw fakeError(
          "not-found",
          `attach ${spec.key}: program ${member.spec.key} is not loaded`,
          "BPF_OBJ_GET",
          "ENOENT",
        );
      return program;
    });
    const foreign = world.foreign.get(renderHookKey(spec.point));
    if (foreign !== undefined && spec.point.hook === "xdp") {
      throw fakeError(
        "busy",
        `attach ${spec.key}: program ${foreign.id} (${foreign.name}) holds it (EBUSY)`,
        "BPF_LINK_CREATE",
        "EBUSY",
      );
    }
    const there = world.hooks.get(key) ?? this.#underFormerName(spec.point, placeId);
    const held = there?.placeId === placeId ? there : undefined;
    const isToMove = spec.point.hook === "xdp" && isModeFixed === true && held?.result.mode !== mode;
    if (
      spec.point.hook === "xdp" &&
      mode === "native" &&
      (held === undefined || isToMove) &&
      world.genericOnly.has(spec.point.interface)
    ) {
      throw fakeError(
        "not-supported",
        `attach ${spec.key}: the driver takes no XDP program (EOPNOTSUPP)`,
        "BPF_LINK_CREATE",
        "EOPNOTSUPP",
      );
    }
    const memberIds = programs.map((program) => program.id);
    const isSame = held?.key === key && held.generation === generation;
    if (!isToMove && isSame && memberIds.every((id, index) => id === held.members[index])) return held.result;
    this.#before("setHook", spec.key);
    const chain = isChain(spec.point, members);
    const hook: FakeHook = {
      key,
      point: spec.point,
      placeId,
      linkId: (isToMove ? undefined : held?.linkId) ?? world.nextId(),
      programId: chain ? world.nextId() : (memberIds[0] ?? 0),
      generation,
      members: memberIds,
      result: {
        mode: (isToMove ? undefined : held?.result.mode) ?? modeAt(spec.point, request),
        chain: chain ? "chain" : "direct",
        memberModes: chain ? members.map((member) => member.mode) : [],
      },
    };
    if (held !== undefined) world.hooks.delete(held.key);
    world.hooks.set(key, hook);
    return hook.result;
  }

  /** What an interface has that had another name before. */
  #underFormerName(point: HookPoint, placeId: number): FakeHook | undefined {
    const kind = (at: HookPoint | undefined): string => (at && "direction" in at ? at.direction : (at?.hook ?? ""));
    return this.world.hooks
      .values()
      .find((hook) => isInterfacePoint(point) && hook.placeId === placeId && kind(hook.point) === kind(point));
  }

  async clearHook(key: string): Promise<void> {
    if (!this.world.hooks.has(identityKey(key))) return;
    this.#before("clearHook", key);
    this.world.hooks.delete(identityKey(key));
  }

  async readHook(key: string): Promise<HookReading | undefined> {
    const hook = this.world.hooks.get(identityKey(key));
    if (hook === undefined || hook.result.chain === "direct" || !isInterfacePoint(hook.point)) return undefined;
    const { valueSize, maxEntries } = chainCounters(hook.point.hook, hook.members.length);
    return { generation: hook.generation, values: new Uint8Array(valueSize * maxEntries * fakeCpus) };
  }

  async removeEverything(): Promise<void> {
    this.#before("removeEverything", "");
    const { world } = this;
    this.#unpin(() => true);
    for (const held of [world.hooks, world.programs, world.maps]) held.clear();
  }

  /** A program attached by itself is known by its pin alone. */
  #generationOf(programId: number): string {
    const program = [...this.world.programs.values()].find(({ id }) => id === programId);
    return program === undefined ? "" : directGeneration(program.identity);
  }

  #before(method: string, key: string): void {
    const error = this.world.intercept({ method, key });
    if (error !== undefined) throw error;
  }

  #unpin(isMeant: (id: number, path: string) => boolean): void {
    for (const [path, id] of this.world.userPins) {
      if (!isMeant(id, path)) continue;
      this.world.userPins.delete(path);
      if (this.world.pathPins.get(path) === id) this.world.pathPins.delete(path);
    }
  }

  #map(identity: MapIdentity, verb: string): FakeMap {
    const map = this.world.maps.get(renderIdentity(identity));
    if (map === undefined)
      throw fakeError("not-found", `${verb} map ${identity.key}: it is not there (ENOENT)`, "BPF_OBJ_GET", "ENOENT");
    return map;
  }

  #outer(identity: MapIdentity, what: string): FakeMap {
    const map = this.#map(identity, what);
    if (isMapOfMaps(map.definition.type)) return map;
    throw fakeError("invalid", `${what}: a ${map.definition.type} refers to no maps`, "BPF_MAP_UPDATE_ELEM");
  }

  #verified(spec: ProgramSpec, identity: ProgramIdentity, maps: ReadonlyMap<string, MapIdentity>): FakeProgram {
    const object = this.world.objects?.get(spec.object.name);
    if (this.world.objects !== undefined && object === undefined) {
      throw fakeError("not-found", `load program ${spec.key}: there is no object ${spec.object.name}`, "READ_OBJECT");
    }
    if (object !== undefined && object.digest !== spec.object.digest) {
      throw fakeError("stale", `load program ${spec.key}: object ${spec.object.name} has changed`, "READ_OBJECT");
    }
    if (object !== undefined && !object.entries.includes(spec.entry)) {
      throw fakeError(
        "not-found",
        `load program ${spec.key}: object ${spec.object.name} has no program ${spec.entry}`,
        "BPF_OBJECT_OPEN",
      );
    }
    const mapIds = Object.keys(spec.maps).map((name) => {
      const map = maps.get(name);
      if (map === undefined) throw new TypeError(`program ${spec.key}: no identity for map ${name}`);
      return this.#map(map, `load program ${spec.key}: open`).id;
    });
    return { id: this.world.nextId(), identity, spec, mapIds };
  }
}
