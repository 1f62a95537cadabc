import { renameSync } from "node:fs";
import {
  directGeneration,
  identityKey,
  isChain,
  isInterfacePoint,
  isTracingPoint,
  parseHookKey,
  type ChainMember,
  type HookPoint,
  type HookReading,
  type HookRequest,
  type HookResult,
  type KnownHooks,
  type MemberMode,
  type ObservedHook,
  type ObservedProgram,
  type ProgramIdentity,
  type TracingPoint,
  type XdpMode,
} from "@bpfleet/kernel";
import type { ChainOffers } from "@bpfleet/kernel/chain";
import { queryHook, type BpfMap, type BpfProgram, type LinkInfo, type Netns } from "./binding.ts";
import { buildChain, createChainCounters, waitForGracePeriod, type Chain, type ChainPart } from "./chain.ts";
import { ChainRecords } from "./chain-record.ts";
import { findCgroupId, findCgroupIds } from "./cgroups.ts";
import { hasFragsFlag, sayingWhoIsSmall } from "./fragments.ts";
import { clearLink, filterAt, findPlace, inNetns, isLinkAt, openLink, setLink, type Place } from "./hook-places.ts";
import { findInterfaces, noInterfaces, readInterfaces, type Interfaces } from "./interfaces.ts";
import { hasCode, saying } from "./kernel-error.ts";
import { KernelFilters } from "./kernel-filters.ts";
import { pinnedProgramId, type KernelPrograms } from "./kernel-programs.ts";
import { isThere, removeTree, type Pins } from "./pins.ts";
import { setTracingLink } from "./tracing-places.ts";

export interface KernelHooksOptions {
  readonly netns: string | Netns | undefined;
  readonly offers: ChainOffers | undefined;
}

const fewInterfaces = 8;

/** What hooks are compared with, looked up once for many. */
interface Surroundings {
  /** Programs of ours, by id. */
  readonly programs: ReadonlyMap<number, ProgramIdentity>;
  readonly interfaces: Interfaces;
  readonly cgroupId: (path: string) => bigint | undefined;
  /** What was found of programs that are alone on their hooks: one may be on thousands. */
  readonly alone: Map<number, What>;
}

type What = Pick<ObservedHook, "generation" | "members"> & Pick<HookResult, "chain" | "memberModes">;

/** The hooks of the port: one link, or one filter, each. */
export class KernelHooks {
  readonly #pins: Pins;
  readonly #programs: KernelPrograms;
  readonly #options: KernelHooksOptions;
  readonly #filters: KernelFilters;
  readonly chains: ChainRecords;

  constructor(pins: Pins, programs: KernelPrograms, options: KernelHooksOptions) {
    this.#pins = pins;
    this.#programs = programs;
    this.#options = options;
    this.#filters = new KernelFilters(pins, options.netns);
    this.chains = new ChainRecords(pins);
  }

  async observe(programs: readonly ObservedProgram[], known?: KnownHooks): Promise<readonly ObservedHook[]> {
    if (known !== undefined && known.again.size === 0) return known.hooks;
    const pinned = new Set([...this.#pins.keys("links"), ...this.#pins.keys("filters")].map(({ key }) => key));
    const kept = known?.hooks.filter(({ key }) => pinned.has(key) && !known.again.has(key)) ?? [];
    const keys = pinned.difference(new Set(kept.map(({ key }) => key)));
    return keys.size === 0 ? kept : [...kept, ...(await this.#look(keys, programs))];
  }

  async #look(keys: ReadonlySet<string>, programs: readonly ObservedProgram[]): Promise<ObservedHook[]> {
    const points = [...keys].map(parseHookKey);
    const cgroups = findCgroupIds(points.flatMap((at) => (at?.hook === "cgroup" ? [at.path] : [])));
    const around: Surroundings = {
      programs: new Map(programs.map((program) => [program.programId, program])),
      interfaces: await this.#interfacesOf(points),
      cgroupId: (path) => cgroups.get(path),
      alone: new Map(),
    };
    const hooks: ObservedHook[] = [];
    for (const key of keys) {
      const hook = await this.#observeHook(key, around);
      if (hook !== undefined) hooks.push(hook);
    }
    return hooks;
  }

  /** Each alone where they are few: a node has hundreds of them. */
  async #interfacesOf(points: readonly (HookPoint | undefined)[]): Promise<Interfaces> {
    const { netns } = this.#options;
    if (points.includes(undefined)) return readInterfaces(netns);
    const names = new Set(points.flatMap((at) => (at !== undefined && isInterfacePoint(at) ? [at.interface] : [])));
    if (names.size === 0) return noInterfaces;
    return names.size > fewInterfaces ? readInterfaces(netns) : findInterfaces(names, netns);
  }

  async set(request: HookRequest): Promise<HookResult> {
    const { spec, generation, members, mode } = request;
    const what = `attach ${spec.key}`;
    return saying(what, async () => {
      using held = new DisposableStack();
      const { point } = spec;
      const programs = members.map((member) => held.use(this.#programs.open(member.identity, what)));
      if (isTracingPoint(point)) return await this.#watch(point, request, programs, what);
      const place = await findPlace(point, this.#options.netns, mode);
      const there = await this.#inForce(request, programs, place.interfaces);
      if (there !== undefined) return there;
      const [first] = programs;
      if (first === undefined) throw new TypeError(`${what}: a hook has at least one member`);
      if (!isInterfacePoint(point) || !isChain(point, members)) {
        const attached = await this.#attach(place, first, request).catch((error: unknown) => {
          throw sayingWhoIsSmall(error, what, members);
        });
        await this.#forgetChains(spec.key, undefined);
        return { mode: attached, chain: "direct", memberModes: [] };
      }
      const counters = held.use(createChainCounters(point.hook, members.length, `c${generation}`));
      const chain = held.use(await this.#build(point, generation, members, programs, counters));
      this.chains.write(spec.key, generation, chain, programs, counters);
      const attached = await this.#attach(place, chain.program, request).catch((error: unknown) => {
        throw sayingWhoIsSmall(
          error,
          what,
          members.filter((_, index) => chain.hasFrags[index] !== true),
        );
      });
      await this.#forgetChains(spec.key, chain.program.info.id);
      const reasons = chain.placed.flatMap(({ why }, index) =>
        why === undefined ? [] : [`${members[index]?.spec.key ?? ""} ${why}`],
      );
      const modes = chain.placed.map((placed) => placed.mode);
      return {
        mode: attached,
        chain: "chain",
        memberModes: modes,
        ...(reasons.length > 0 && { reason: reasons.join("; ") }),
      };
    });
  }

  async #watch(
    point: TracingPoint,
    request: HookRequest,
    programs: readonly BpfProgram[],
    what: string,
  ): Promise<HookResult> {
    const there = await this.#inForce(request, programs, noInterfaces);
    if (there !== undefined) return there;
    const [first] = programs;
    if (first === undefined) throw new TypeError(`${what}: a hook has at least one member`);
    await setTracingLink(point, first, this.#pins.link(request.spec.key), what);
    return { mode: point.hook, chain: "direct", memberModes: [] };
  }

  async clear(key: string): Promise<void> {
    await saying(`detach ${key}`, async () => {
      await clearLink(this.#pins.link(key));
      await this.#filters.clear(key, (id) => this.#isOurs(key, id));
      await this.#forgetChains(key, undefined);
    });
  }

  async read(key: string): Promise<HookReading | undefined> {
    return saying(`read counters of ${key}`, async () => {
      const programId = await this.#programOf(key);
      const chain = programId === undefined ? undefined : this.chains.find(key, programId);
      if (chain === undefined) return undefined;
      using counters = this.chains.openCounters(chain);
      return { generation: chain.generation, values: (await counters.readBatch()).values };
    });
  }

  /** Keys of everything that is pinned for a hook. */
  keys(): string[] {
    return [
      ...new Set(
        (["links", "filters", "chains"] as const).flatMap((folder) => this.#pins.keys(folder).map(({ key }) => key)),
      ),
    ];
  }

  async #observeHook(key: string, around: Surroundings): Promise<ObservedHook | undefined> {
    const hasFilter = isThere(this.#pins.filter(key));
    const hook = await this.#observeLink(key, around);
    if (hook === undefined) return hasFilter ? this.#observeFilter(key, around) : undefined;
    // Both: a change between link and filter was cut short. Setting the hook again sorts it out.
    return hasFilter ? { ...hook, isAttached: false } : hook;
  }

  async #observeLink(key: string, around: Surroundings): Promise<ObservedHook | undefined> {
    const info = pinnedLink(this.#pins.link(key));
    if (info === undefined) return undefined;
    const point = parseHookKey(key);
    const isAttached = isLinkAt(info, point, around.interfaces, around.cgroupId);
    const { generation, members, chain, memberModes } = this.#whatRuns(key, point, info.programId, around);
    const mode =
      info.type === "xdp"
        ? await this.#xdpMode(isAttached ? info.ifindex : undefined)
        : info.ifindex !== undefined
          ? "tcx"
          : (point?.hook ?? info.type);
    const result = resultOf(mode, { chain, memberModes });
    return { key, point, generation, members, isAttached, linkId: info.id, programId: info.programId, result };
  }

  async #observeFilter(key: string, around: Surroundings): Promise<ObservedHook> {
    const point = parseHookKey(key);
    const programId = (await this.#filters.find(point, around.interfaces)) ?? 0;
    const runs = this.#whatRuns(key, point, programId, around);
    const { generation, members, chain, memberModes } = runs;
    const isOurs = generation !== "" || programId === pinnedProgramId(this.#pins.filter(key));
    const result = resultOf("cls_bpf", { chain, memberModes });
    return { key, point, generation, members, isAttached: programId !== 0 && isOurs, linkId: 0, programId, result };
  }

  /** Which members run when this program is on the hook. */
  #whatRuns(key: string, point: HookPoint | undefined, programId: number, { programs, alone }: Surroundings): What {
    const isAlone = point !== undefined && !isInterfacePoint(point);
    const chain = isAlone ? undefined : this.chains.find(key, programId);
    if (chain !== undefined) {
      const members = this.chains.members(chain);
      return {
        generation: this.chains.isTorn(chain) ? "" : chain.generation,
        members: members.map((member) => member.programId),
        chain: "chain",
        memberModes: members.map((member): MemberMode => member.mode),
      };
    }
    let what = alone.get(programId);
    if (what === undefined) {
      const direct = programs.get(programId);
      const generation = direct ? directGeneration(direct) : "";
      alone.set(programId, (what = { generation, members: [programId], chain: "direct", memberModes: [] }));
    }
    return what;
  }

  /** The result when the request is in force already. */
  async #inForce(
    request: HookRequest,
    programs: readonly BpfProgram[],
    interfaces: Interfaces,
  ): Promise<HookResult | undefined> {
    const { spec, generation, members, legacyTc } = request;
    const ids = programs.map((program) => program.info.id);
    const known = new Map(members.map(({ identity }, index) => [ids[index] ?? 0, identity]));
    const around: Surroundings = { programs: known, interfaces, cgroupId: findCgroupId, alone: new Map() };
    const there = await this.#observeHook(identityKey(spec.key), around);
    if (there === undefined || !there.isAttached || there.generation !== generation) return undefined;
    if (there.members.length !== ids.length || !ids.every((id, index) => id === there.members[index])) return undefined;
    if (isToMove(request, there.result.mode)) return undefined;
    return legacyTc && there.result.mode === "tcx" ? undefined : there.result;
  }

  async #build(
    point: HookPoint,
    generation: string,
    members: readonly ChainMember[],
    programs: readonly BpfProgram[],
    counters: BpfMap,
  ): Promise<Chain> {
    await using held = new AsyncDisposableStack();
    const parts: ChainPart[] = [];
    for (const [index, member] of members.entries()) {
      const program = programs[index];
      if (program === undefined) throw new TypeError("every member has a program");
      const { mode, proceedOn, spec, maps } = member;
      // Its object is not at hand: it is called as it was loaded.
      if (member.isEarlier === true) {
        parts.push({ program, mode: "stub", proceedOn });
        continue;
      }
      const { object } = held.use(await this.#programs.openObject(spec, maps));
      const { flags = 0, expectedAttachType } = object.programs.find((each) => each.name === spec.entry) ?? {};
      // A stub is called as it was loaded; only one that takes fragments must perhaps be loaded without.
      if (mode === "stub" && (flags & hasFragsFlag) === 0) {
        parts.push({ program, mode, proceedOn, expectedAttachType });
        continue;
      }
      await object.prepare();
      parts.push({ program, mode, proceedOn, instructions: object.instructions(spec.entry) });
    }
    const hook = point.hook === "xdp" ? "xdp" : "tc";
    // Awaited here: the instructions refer to maps that only the open objects hold.
    return await buildChain({ hook, name: `b${generation}`, members: parts, counters, offers: this.#options.offers });
  }

  /** By link or filter; what the hook had of the other kind goes afterwards, so that it is never empty. */
  async #attach(place: Place, program: BpfProgram, request: HookRequest): Promise<string> {
    const { key } = request.spec;
    const what = `attach ${key}`;
    const link = this.#pins.link(key);
    const isOurs = (programId: number): boolean => this.#isOurs(key, programId);
    const takeOver = (): boolean => this.#takeOver(place, link);
    if (place.point.hook !== "tc") {
      const isFixed = place.point.hook === "xdp" && request.isModeFixed === true;
      const before = isFixed ? await this.#xdpMode(place.ifindex) : request.mode;
      const earlier = before === request.mode ? undefined : before;
      await setLink(place, program, link, what, isOurs, { earlier, takeOver });
      return place.point.hook === "cgroup" ? "cgroup" : this.#xdpMode(place.ifindex);
    }
    if (!request.legacyTc) {
      try {
        await setLink(place, program, link, what, isOurs, { takeOver });
        await this.#filters.clear(key, isOurs);
        return "tcx";
      } catch (error) {
        if (!hasCode(error, "invalid", "not-supported")) throw error;
      }
    }
    const at = filterAt(place.ifindex, place.point.direction, this.#options.netns);
    await this.#filters.attach(at, program, key, what, isOurs);
    await clearLink(link);
    return "cls_bpf";
  }

  /** A link stays with its interface when that gets another name; then it is pinned under the new one. */
  #takeOver({ point, ifindex }: Place, pin: string): boolean {
    const kind = hookKind(point);
    const former = this.#pins.keys("links").find(({ key, path }) => {
      const other = parseHookKey(key);
      return path !== pin && other && hookKind(other) === kind && pinnedLink(path)?.ifindex === ifindex;
    });
    if (!isInterfacePoint(point) || former === undefined) return false;
    renameSync(former.path, pin);
    return true;
  }

  #isOurs(key: string, programId: number): boolean {
    if (this.chains.find(key, programId) !== undefined || pinnedProgramId(this.#pins.filter(key)) === programId)
      return true;
    return this.#programs.observe().some((program) => program.programId === programId);
  }

  async #programOf(key: string): Promise<number | undefined> {
    await using link = openLink(this.#pins.link(key));
    if (link !== undefined) return link.info.programId;
    if (!isThere(this.#pins.filter(key))) return undefined;
    return this.#filters.find(parseHookKey(key), await readInterfaces(this.#options.netns));
  }

  /** Packets may still be in the chain that was replaced, and its prog array must stay filled for them. */
  async #forgetChains(key: string, mainId: number | undefined): Promise<void> {
    const folders = this.chains.others(key, mainId);
    if (folders.length > 0) await waitForGracePeriod();
    for (const folder of folders) removeTree(folder);
    if (mainId === undefined) this.chains.removeFolder(key);
  }

  async #xdpMode(ifindex: number | undefined): Promise<XdpMode> {
    if (ifindex === undefined) return "native";
    const { mode } = await queryHook({ xdp: ifindex }, inNetns(this.#options));
    return mode === "skb" ? "skb" : "native";
  }
}

const direct = new Map<string, HookResult>();

/** The same for all hooks in a mode that carry one program. */
function resultOf(mode: string, { chain, memberModes }: Pick<What, "chain" | "memberModes">): HookResult {
  if (chain !== "direct") return { mode, chain, memberModes };
  const known = direct.get(mode) ?? { mode, chain, memberModes: [] };
  direct.set(mode, known);
  return known;
}

/** What one interface can have once. */
function hookKind(point: HookPoint): string {
  return "direction" in point ? `${point.hook} ${point.direction}` : point.hook;
}

function pinnedLink(path: string): LinkInfo | undefined {
  const link = openLink(path);
  try {
    return link?.info;
  } finally {
    link?.closeHeld();
  }
}

/** A link stays in the mode that it was made with. */
function isToMove({ spec, mode, isModeFixed }: HookRequest, there: string): boolean {
  return spec.point.hook === "xdp" && isModeFixed === true && there !== mode;
}
