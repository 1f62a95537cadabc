import { canonicalJson, fingerprint } from "@bpfleet/base";
import type { ChainMember, Identity, MapIdentity, MemberMode, ProgramIdentity } from "./port.ts";
import { isInterfacePoint, type HookPoint } from "./hook-point.ts";
import { type HookSpec, type MapSpec, type NodePlan, type ProgramSpec } from "./specs.ts";
import { needsMain } from "./chain/hook.ts";
import { encodedKeyLimit, encodePinName } from "./pin-name.ts";

/** Identities of everything in a plan, by the keys of the specs. */
export interface PlanGenerations {
  readonly maps: ReadonlyMap<string, MapIdentity>;
  /** Programs that name a map which the plan lacks have none. */
  readonly programs: ReadonlyMap<string, ProgramIdentity>;
  /** Hooks with a member that has no identity are left out. */
  readonly hooks: ReadonlyMap<string, HookGenerations>;
}

export interface HookGenerations {
  /** As the pin's name has it. */
  readonly key: string;
  readonly isChain: boolean;
  /** Generation by the mode of the members; the same one for both when a program is attached by itself. */
  readonly generation: Readonly<Record<MemberMode, string>>;
  /** In running order. */
  readonly members: readonly Omit<ChainMember, "mode">[];
}

/** Plans and specs are values: what was worked out for one stays true as long as it lives. */
const knownGenerations = new WeakMap<NodePlan, PlanGenerations>();
const knownMaps = new WeakMap<MapSpec, MapIdentity>();

export function planGenerations(plan: NodePlan): PlanGenerations {
  let generations = knownGenerations.get(plan);
  if (generations === undefined) knownGenerations.set(plan, (generations = workOutGenerations(plan)));
  return generations;
}

function workOutGenerations(plan: NodePlan): PlanGenerations {
  const maps = new Map(plan.maps.map((spec) => [spec.key, mapIdentity(spec)]));
  const specs = new Map(plan.programs.map((spec) => [spec.key, spec]));
  const programs = new Map<string, ProgramIdentity>();
  for (const spec of plan.programs) {
    const identity = programIdentity(spec, maps);
    if (identity !== undefined) programs.set(spec.key, identity);
  }
  const hooks = new Map<string, HookGenerations>();
  // The same members may be on thousands of hooks: what they are there is worked out, and held, once.
  const alike = new Map<string, Omit<HookGenerations, "key"> | undefined>();
  for (const hook of plan.hooks) {
    const { point } = hook;
    const place = JSON.stringify([point.hook, hook.members.map(({ program, proceedOn }) => [program, proceedOn])]);
    if (!alike.has(place)) {
      const members = hookMembers(hook, specs, programs, maps);
      alike.set(place, members && generationsAt(point, members));
    }
    const known = alike.get(place);
    if (known !== undefined) hooks.set(hook.key, { key: identityKey(hook.key), ...known });
  }
  return { maps, programs, hooks };
}

function generationsAt(point: HookPoint, members: HookGenerations["members"]): Omit<HookGenerations, "key"> {
  const generation = (mode: MemberMode) =>
    hookGeneration(
      point,
      members.map((member) => ({ ...member, mode })),
    );
  const inline = generation("inline");
  const chain = isChain(point, members);
  return { isChain: chain, generation: { inline, stub: chain ? generation("stub") : inline }, members };
}

/**
 * What tells one map from another: its definition, who writes it, and what it is sealed with. The two
 * halves of a pair of rule counters have one generation, so that they are known as a pair.
 */
export function mapIdentity(spec: MapSpec): MapIdentity {
  let identity = knownMaps.get(spec);
  if (identity === undefined) knownMaps.set(spec, (identity = workOutMap(spec)));
  return identity;
}

function workOutMap(spec: MapSpec): MapIdentity {
  const { contents, definition, layout } = spec;
  const digest = contents.kind === "sealed" ? contents.digest : undefined;
  const inner = contents.kind === "refers" ? contents.inner : undefined;
  const essence = spec.carries
    ? { carries: "rule counters", digest, maxEntries: definition.maxEntries }
    : { definition, kind: contents.kind, digest, layout, inner };
  return { key: identityKey(spec.key), generation: fingerprint(canonicalJson(essence)) };
}

/** `undefined` when it names a map that `maps` lacks. */
export function programIdentity(
  spec: ProgramSpec,
  maps: ReadonlyMap<string, MapIdentity>,
): ProgramIdentity | undefined {
  const used = resolveMaps(spec, maps);
  if (used === undefined) return undefined;
  const mapNames = Object.fromEntries([...used].map(([name, map]) => [name, renderIdentity(map)]));
  return {
    key: identityKey(spec.key),
    generation: fingerprint(canonicalJson({ ...contentOf(spec), maps: mapNames })),
  };
}

/** Another text for another program, whatever maps it lies over. */
export function programContent(spec: ProgramSpec): string {
  return fingerprint(canonicalJson(contentOf(spec)));
}

function contentOf({ type, object, entry, globals, attachTarget, takesFragments }: ProgramSpec): object {
  return { type, object, entry, globals, attachTarget, takesFragments };
}

/** Map name in the object → identity; `undefined` when one is missing. */
export function resolveMaps(
  spec: ProgramSpec,
  maps: ReadonlyMap<string, MapIdentity>,
): ReadonlyMap<string, MapIdentity> | undefined {
  const used = new Map<string, MapIdentity>();
  for (const [name, key] of Object.entries(spec.maps)) {
    const identity = maps.get(key);
    if (identity === undefined) return undefined;
    used.set(name, identity);
  }
  return used;
}

type MemberIdentity = Pick<ChainMember, "identity" | "proceedOn" | "mode">;

/** Whether a generated main program runs the members; otherwise the only one is attached by itself. */
export function isChain(point: HookPoint, members: readonly Pick<ChainMember, "proceedOn">[]): boolean {
  return isInterfacePoint(point) && needsMain(point.hook, members);
}

/** Of a program attached by itself only its identity counts. */
export function hookGeneration(point: HookPoint, members: readonly MemberIdentity[]): string {
  const [first] = members;
  if (first !== undefined && !isChain(point, members)) return directGeneration(first.identity);
  return fingerprint(
    canonicalJson(
      members.map(({ identity, proceedOn, mode }) => ({
        program: renderIdentity(identity),
        proceedOn: [...new Set(proceedOn)].toSorted((a, b) => a - b),
        mode,
      })),
    ),
  );
}

export function directGeneration(program: ProgramIdentity): string {
  return fingerprint(`direct ${renderIdentity(program)}`);
}

/** `filter/default/x/xdp@1f…`; generations hold no `@`. */
export function renderIdentity({ key, generation }: Identity): string {
  return `${key}@${generation}`;
}

export function sameIdentity(a: Identity, b: Identity): boolean {
  return a.key === b.key && a.generation === b.generation;
}

/**
 * The key as a pin's name can carry it: itself, or, when its encoding would be too long, its
 * beginning, `~` and its fingerprint.
 */
export function identityKey(key: string): string {
  if (key.length * 3 <= encodedKeyLimit && isAscii(key)) return key;
  if (encodePinName(key).length <= encodedKeyLimit) return key;
  let head = "";
  let length = 0;
  for (const character of key) {
    length += encodePinName(character).length;
    if (length > encodedKeyLimit - 20) break;
    head += character;
  }
  return `${head}~${fingerprint(key)}`;
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

function hookMembers(
  hook: HookSpec,
  specs: ReadonlyMap<string, ProgramSpec>,
  programs: ReadonlyMap<string, ProgramIdentity>,
  maps: ReadonlyMap<string, MapIdentity>,
): Omit<ChainMember, "mode">[] | undefined {
  const members: Omit<ChainMember, "mode">[] = [];
  for (const member of hook.members) {
    const spec = specs.get(member.program);
    const identity = programs.get(member.program);
    const used = spec && resolveMaps(spec, maps);
    if (spec === undefined || identity === undefined || used === undefined) return undefined;
    members.push({ spec, identity, maps: used, proceedOn: member.proceedOn });
  }
  return members;
}
