import { actionId, type Action, type CounterPair, type Deed } from "./action.ts";
import { diffEntries, indexEntries, isKeyed, isMapOfMaps, packEntries } from "./entries.ts";
import { type HookGenerations, identityKey, planGenerations, renderIdentity, resolveMaps } from "./identity.ts";
import { ownedKeys, type Journal } from "./journal.ts";
import type {
  ChainMember,
  MapIdentity,
  MemberMode,
  ObservedHook,
  ObservedKernel,
  ObservedMap,
  ObservedProgram,
  XdpMode,
} from "./port.ts";
import { findPredecessor } from "./observe-plan.ts";
import { References } from "./references.ts";
import type { HookPoint } from "./hook-point.ts";
import type { HookSpec, MapSpec, NodePlan } from "./specs.ts";
import { Users } from "./users.ts";

/** The kernel lets a packet make so many tail calls, and every stub makes one. */
const mostStubs = 33;

/** Which modes of the chain this kernel runs rightly (NodeFacts.kernel.chainInline, chainStub). */
export interface DiffOptions {
  readonly inline: boolean;
  readonly stub: boolean;
  /** By interface: how XDP is to run there; as well as it can where nothing is said. */
  readonly xdpModes?: Readonly<Record<string, XdpMode>> | undefined;
}

/**
 * What makes the kernel hold the plan, in the order in which it is to be done: nothing old goes before
 * what replaces it is in force. The order of equal steps is the plan's. Carried out in part, the diff
 * of what is then observed leads to the same end; carried out in full, the next diff is empty.
 */
export function diffPlan(
  plan: NodePlan,
  observed: ObservedKernel,
  journal: Journal,
  options: DiffOptions = { inline: true, stub: true },
): readonly Action[] {
  return new Diff(plan, observed, journal, options).actions();
}

class Diff {
  readonly #plan: NodePlan;
  readonly #observed: ObservedKernel;
  readonly #journal: Journal;
  readonly #options: DiffOptions;
  readonly #generations: ReturnType<typeof planGenerations>;
  readonly #maps: ReadonlyMap<string, ObservedMap>;
  readonly #programs: ReadonlyMap<string, ObservedProgram>;
  readonly #hooks: ReadonlyMap<string, ObservedHook>;
  /** Other generations of a map, by its key. */
  readonly #mapsByKey: ReadonlyMap<string, readonly ObservedMap[]>;
  /** Halves of pairs of rule counters, `rule-hits FAMILY`. */
  readonly #halves: ReadonlyMap<string, MapSpec>;
  readonly #references: References;
  readonly #users: Users;
  readonly #actions = new Map<string, Action>();
  #hookKeys: ReadonlyMap<string, string> | undefined;

  constructor(plan: NodePlan, observed: ObservedKernel, journal: Journal, options: DiffOptions) {
    this.#plan = plan;
    this.#observed = observed;
    this.#journal = journal;
    this.#options = options;
    this.#generations = planGenerations(plan);
    this.#references = new References(plan, this.#generations, observed);
    this.#users = new Users(plan, this.#generations, this.#references, observed, this.#actions);
    this.#maps = new Map(observed.maps.map((map) => [renderIdentity(map), map]));
    this.#programs = new Map(observed.programs.map((program) => [renderIdentity(program), program]));
    this.#hooks = new Map(observed.hooks.map((hook) => [hook.key, hook]));
    this.#mapsByKey = Map.groupBy(observed.maps, (map) => map.key);
    const halves = plan.maps.filter((spec) => spec.carries !== undefined);
    this.#halves = new Map(halves.map((spec) => [`${spec.carries} ${familyOf(spec.key)}`, spec]));
  }

  actions(): readonly Action[] {
    for (const spec of this.#plan.maps) this.#createMap(spec);
    this.#putReferences("first");
    for (const spec of this.#plan.maps) this.#writeMap(spec);
    this.#loadPrograms();
    const putsBefore = this.#users.putsBefore();
    const hooks = this.#plan.hooks.map((spec) => ({
      spec,
      puts: putsBefore(spec, this.#hooks.get(identityKey(spec.key))),
    }));
    for (const { spec, puts } of hooks) if (puts.length === 0) this.#setHook(spec);
    // What is judged anew from now on is so together with all else.
    this.#putReferences("others");
    for (const { spec, puts } of hooks) if (puts.length > 0) this.#setHook(spec, puts);
    for (const spec of this.#plan.maps) this.#pinMap(spec);
    for (const spec of this.#plan.maps) this.#carryCounters(spec);
    this.#clearHooks();
    this.#unpinMaps();
    for (const drop of this.#references.drops) this.#add(drop, this.#users.through(drop.spec.key).flat());
    this.#removePrograms();
    this.#removeMaps();
    for (const hook of this.#plan.hooks) this.#inlineHook(hook);
    return this.#hooksFirst();
  }

  /** Those that may be: the kernel rests after each, and whatever else is only added is so meanwhile. */
  #hooksFirst(): readonly Action[] {
    const running = new Set(this.#observed.hooks.flatMap(({ isAttached, members }) => (isAttached ? members : [])));
    const { first = [], rest = [] } = Object.groupBy(this.#actions.values(), (action) =>
      this.#isToRunAlike(action, running) ? "first" : "rest",
    );
    return [...first, ...rest];
  }

  /** Its programs run elsewhere as they are: they do here what they do there, by what was in force before. */
  #isToRunAlike(action: Action, running: ReadonlySet<number>): boolean {
    if (action.do !== "set-hook" || action.why !== "new" || action.needs.length > 0) return false;
    return action.members.every(({ identity, maps }) => {
      const programId = this.#programs.get(renderIdentity(identity))?.programId;
      const isWritten = maps.values().some((map) => this.#actions.has(`write-map ${renderIdentity(map)}`));
      return programId !== undefined && running.has(programId) && !isWritten;
    });
  }

  /** `needs` may name actions that turned out not to be needed. */
  #add(deed: Deed, needs: Iterable<string> = [], needsOne: readonly (readonly string[])[] = []): void {
    const id = actionId(deed);
    const known = (ids: Iterable<string>) => [...new Set(ids)].filter((need) => this.#actions.has(need));
    const sets = needsOne.map(known);
    const isOpen = sets.length > 0 && sets.every((set) => set.length > 0);
    this.#actions.set(id, { id, needs: known(needs), ...(isOpen && { needsOne: sets }), ...deed });
  }

  #observedMap(key: string): ObservedMap | undefined {
    const identity = this.#generations.maps.get(key);
    return identity && this.#maps.get(renderIdentity(identity));
  }

  #createMap(spec: MapSpec): void {
    const identity = this.#generations.maps.get(spec.key);
    if (identity !== undefined && !this.#maps.has(renderIdentity(identity)))
      this.#add({ do: "create-map", spec: this.#withEntriesOfOthers(spec, identity), identity });
  }

  #withEntriesOfOthers(spec: MapSpec, identity: MapIdentity): MapSpec {
    const { contents } = spec;
    if (contents.kind !== "kept" || contents.prune) return spec;
    const predecessor = findPredecessor(spec, identity, this.#observed.maps);
    if (predecessor?.entries === undefined) return spec;
    const wanted = indexEntries(contents.entries);
    const owned = ownedKeys(this.#journal, { ...spec, definition: predecessor.definition });
    const others = [...indexEntries(predecessor.entries)].filter(([key]) => !wanted.has(key) && !owned.has(key));
    if (others.length === 0) return spec;
    return { ...spec, contents: { ...contents, entries: packEntries([...wanted, ...others]) } };
  }

  #putReferences(which: "first" | "others"): void {
    for (const put of this.#references.puts) {
      if (this.#references.isFirst(put) !== (which === "first")) continue;
      // With other programs than it was made for it would be half a change.
      const programs = which === "first" ? [] : this.#users.programsOver(put.spec.key);
      this.#add(put, [
        `create-map ${renderIdentity(put.identity)}`,
        `create-map ${renderIdentity(put.map)}`,
        ...programs.flatMap(({ key }) => this.#users.ofProgram(key)),
      ]);
    }
  }

  #writeMap(spec: MapSpec): void {
    const there = this.#observedMap(spec.key);
    if (there === undefined || spec.contents.kind !== "kept" || !isKeyed(spec.definition.type)) return;
    const { entries, prune } = spec.contents;
    const changes = diffEntries(spec.definition, entries, there.entries, ownedKeys(this.#journal, spec), prune);
    if (changes.puts.count + changes.deletes.count === 0) return;
    const { key, generation } = there;
    this.#add({ do: "write-map", spec, identity: { key, generation }, ...changes });
  }

  #loadPrograms(): void {
    for (const spec of this.#plan.programs) {
      const identity = this.#generations.programs.get(spec.key);
      const maps = resolveMaps(spec, this.#generations.maps);
      if (identity === undefined || maps === undefined) continue;
      const there = this.#programs.get(renderIdentity(identity));
      const isOverPlannedMaps = [...maps.values()].every((map) => {
        const id = this.#maps.get(renderIdentity(map))?.mapId;
        return id !== undefined && there?.mapIds.includes(id);
      });
      if (isOverPlannedMaps && there !== undefined) continue;
      const needs = [
        ...[...maps.values()].map((map) => `create-map ${renderIdentity(map)}`),
        ...this.#references.firstPutsFor(spec),
      ];
      this.#add({ do: "load-program", spec, identity, maps, replaces: there !== undefined }, needs);
    }
  }

  #setHook(spec: HookSpec, puts: readonly string[] = []): void {
    const wanted = this.#generations.hooks.get(spec.key);
    if (wanted === undefined || this.#isInForce(wanted, this.#xdpMode(spec.point).xdpMode)) return;
    const there = this.#hooks.get(wanted.key);
    const mode = this.#firstMode(wanted);
    this.#add(
      {
        do: "set-hook",
        spec,
        generation: wanted.generation[mode],
        members: membersIn(wanted, mode),
        why: there === undefined ? "new" : there.isAttached ? "changed" : "detached",
        ...this.#xdpMode(spec.point),
      },
      [...puts, ...wanted.members.map((member) => `load-program ${renderIdentity(member.identity)}`)],
    );
  }

  /** Stubs are there at once, as long as the kernel lets one packet go through so many. */
  #firstMode({ members }: HookGenerations): MemberMode {
    const { inline, stub } = this.#options;
    return !inline || (stub && members.length <= mostStubs) ? "stub" : "inline";
  }

  #xdpMode(point: HookPoint): { readonly xdpMode?: XdpMode } {
    const asked = point.hook === "xdp" ? this.#options.xdpModes?.[point.interface] : undefined;
    return asked === undefined ? {} : { xdpMode: asked };
  }

  #isInForce(wanted: HookGenerations, xdpMode: XdpMode | undefined): boolean {
    const there = this.#hooks.get(wanted.key);
    if (there === undefined || !there.isAttached) return false;
    if (xdpMode !== undefined && there.result.mode !== xdpMode) return false;
    if (there.generation !== wanted.generation.stub && there.generation !== wanted.generation.inline) return false;
    return (
      there.members.length === wanted.members.length &&
      wanted.members.every(({ identity }, index) => {
        const name = renderIdentity(identity);
        return (
          !this.#actions.has(`load-program ${name}`) && this.#programs.get(name)?.programId === there.members[index]
        );
      })
    );
  }

  #pinMap(spec: MapSpec): void {
    const identity = this.#generations.maps.get(spec.key);
    if (identity === undefined || spec.pinPath === undefined) return;
    if (this.#observedMap(spec.key)?.pinPaths.includes(spec.pinPath)) return;
    // Several owners may share it: one whose program cannot be loaded keeps the pin from nobody else.
    const needs = [`create-map ${renderIdentity(identity)}`];
    this.#add({ do: "pin-map", spec, identity, pinPath: spec.pinPath }, needs, this.#users.eachOfMap(spec.key));
  }

  #carryCounters(base: MapSpec): void {
    if (base.carries !== "rule-base") return;
    const hits = this.#halves.get(`rule-hits ${familyOf(base.key)}`);
    const baseIdentity = this.#generations.maps.get(base.key);
    const hitsIdentity = hits && this.#generations.maps.get(hits.key);
    if (hits === undefined || baseIdentity === undefined || hitsIdentity === undefined) return;
    const from: CounterPair[] = [];
    for (const old of this.#mapsByKey.get(baseIdentity.key) ?? []) {
      if (old.generation === baseIdentity.generation) continue;
      const oldHits = this.#maps.get(renderIdentity({ key: hitsIdentity.key, generation: old.generation }));
      if (oldHits === undefined) continue;
      from.push({ hits: bare(oldHits), base: bare(old), baseId: old.mapId });
    }
    if (from.length === 0) return;
    const to = { hits: hitsIdentity, base: baseIdentity, baseId: this.#observedMap(base.key)?.mapId };
    this.#add({ do: "carry-counters", from, to }, [
      `create-map ${renderIdentity(baseIdentity)}`,
      `create-map ${renderIdentity(hitsIdentity)}`,
      ...this.#users.ofMap(hits.key),
    ]);
  }

  #clearHooks(): void {
    const wanted = new Set(this.#plan.hooks.map((hook) => identityKey(hook.key)));
    for (const hook of this.#observed.hooks) {
      if (!wanted.has(hook.key)) this.#add({ do: "clear-hook", key: hook.key, observed: hook });
    }
  }

  #unpinMaps(): void {
    const planned = new Map(
      this.#plan.maps.flatMap((spec) => (spec.pinPath === undefined ? [] : [[spec.pinPath, spec.key]])),
    );
    const identities = new Set([...this.#generations.maps.values()].map(renderIdentity));
    for (const map of this.#observed.maps) {
      if (!identities.has(renderIdentity(map))) continue;
      for (const pinPath of map.pinPaths) {
        if (!planned.has(pinPath)) this.#add({ do: "unpin-map", identity: bare(map), pinPath });
      }
    }
  }

  #removePrograms(): void {
    const identities = new Set([...this.#generations.programs.values()].map(renderIdentity));
    const specs = new Map(this.#plan.programs.map((spec) => [identityKey(spec.key), spec]));
    for (const program of this.#observed.programs) {
      if (identities.has(renderIdentity(program))) continue;
      const successor = specs.get(program.key);
      const hooks = this.#observed.hooks.filter(
        (hook) => hook.members.length === 0 || hook.members.includes(program.programId),
      );
      this.#add({ do: "remove-program", identity: bare(program) }, [
        ...(successor ? this.#users.ofProgram(successor.key) : []),
        ...hooks.flatMap((hook) => [this.#setHookId(hook.key), `clear-hook ${hook.key}`]),
      ]);
    }
  }

  /** Observed keys may be shortened, those in ids of set-hook are the plan's. */
  #setHookId(observedKey: string): string {
    this.#hookKeys ??= new Map(this.#plan.hooks.map(({ key }) => [identityKey(key), key]));
    return `set-hook ${this.#hookKeys.get(observedKey) ?? observedKey}`;
  }

  #removeMaps(): void {
    const identities = new Set([...this.#generations.maps.values()].map(renderIdentity));
    const specs = new Map(this.#plan.maps.map((spec) => [identityKey(spec.key), spec]));
    // Hits without their base would be counted again if the edit were taken back: they go first. What a map refers
    // to goes after it.
    const isBase = (map: ObservedMap): boolean => specs.get(map.key)?.carries === "rule-base";
    const order = (map: ObservedMap) => (isMapOfMaps(map.definition.type) ? 0 : isBase(map) ? 2 : 1);
    for (const map of this.#observed.maps.toSorted((a, b) => order(a) - order(b))) {
      if (identities.has(renderIdentity(map))) continue;
      const releases = this.#references.releasesOf(map.mapId);
      if (releases === undefined) continue;
      const successor = specs.get(map.key);
      const users = this.#observed.programs.filter((program) => program.mapIds.includes(map.mapId)).map(renderIdentity);
      this.#add({ do: "remove-map", identity: bare(map) }, [
        ...users.flatMap((name) => [`remove-program ${name}`, `load-program ${name}`]),
        ...releases,
        ...(successor && !this.#wasNeverInForce(map, successor) ? this.#successorInForce(successor) : []),
        ...(isBase(map) ? this.#removalOfHits(map) : []),
      ]);
    }
  }

  /** It was to be put into a map of maps, and nobody did: an edit came first. */
  #wasNeverInForce(map: ObservedMap, successor: MapSpec): boolean {
    const isReferredTo = this.#references.releasesOf(map.mapId)?.length !== 0;
    const isUsed = this.#observed.programs.some((program) => program.mapIds.includes(map.mapId));
    if (isReferredTo || isUsed || map.pinPaths.length > 0 || successor.carries !== undefined) return false;
    return this.#references.holdersOf(successor.key).length > 0 && this.#users.programsOver(successor.key).length === 0;
  }

  #removalOfHits(base: ObservedMap): string[] {
    const pair = this.#observed.maps.filter(
      (map) => map.generation === base.generation && familyOf(map.key) === familyOf(base.key),
    );
    return pair.filter((map) => map.key !== base.key).map((map) => `remove-map ${renderIdentity(map)}`);
  }

  #successorInForce(spec: MapSpec): string[] {
    const identity = this.#generations.maps.get(spec.key);
    if (identity === undefined) return [];
    const name = renderIdentity(identity);
    const base = this.#halves.get(`rule-base ${familyOf(spec.key)}`);
    const baseIdentity = spec.carries && base && this.#generations.maps.get(base.key);
    return [
      `create-map ${name}`,
      `pin-map ${name} ${spec.pinPath ?? ""}`,
      ...(baseIdentity ? [`carry-counters ${renderIdentity(baseIdentity)}`] : []),
      ...this.#users.ofMap(spec.key),
    ];
  }

  #inlineHook(spec: HookSpec): void {
    const wanted = this.#generations.hooks.get(spec.key);
    if (wanted === undefined || !wanted.isChain) return;
    if (!this.#options.inline || this.#firstMode(wanted) === "inline") return;
    if (this.#journal.refusedInline.includes(wanted.generation.inline)) return;
    const isSet = this.#actions.has(`set-hook ${spec.key}`);
    if (!isSet && this.#hooks.get(wanted.key)?.generation === wanted.generation.inline) return;
    const members = membersIn(wanted, "inline");
    const mode = this.#xdpMode(spec.point);
    this.#add({ do: "inline-hook", spec, generation: wanted.generation.inline, members, ...mode }, [
      `set-hook ${spec.key}`,
    ]);
  }
}

function membersIn(wanted: HookGenerations, mode: MemberMode): readonly ChainMember[] {
  return wanted.members.map((member) => ({ ...member, mode }));
}

function familyOf(key: string): string {
  return key.slice(0, key.lastIndexOf("/"));
}

function bare({ key, generation }: { readonly key: string; readonly generation: string }): {
  key: string;
  generation: string;
} {
  return { key, generation };
}
