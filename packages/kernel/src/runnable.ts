import type { Deed } from "./action.ts";
import { hookGeneration, identityKey, renderIdentity } from "./identity.ts";
import type { ChainMember, ObservedHook, ObservedKernel, ObservedProgram } from "./port.ts";
import { isInterfacePoint } from "./hook-point.ts";

type SetHook = Extract<Deed, { do: "set-hook" }>;

/** What a hook runs as long as not all of its programs can be loaded. */
export interface Runnable {
  readonly members: readonly ChainMember[];
  readonly generation: string;
  /** It is in force already. */
  readonly isInForce: boolean;
}

/**
 * A program that cannot be loaded holds nobody else back: its earlier generation runs in its place, and
 * without one the hook runs without it. `undefined` when what runs there now cannot be told: it might be
 * that program, and is better left alone.
 */
export function runnableOf(
  action: SetHook,
  observed: ObservedKernel,
  isLoaded: (member: ChainMember) => boolean,
): Runnable | undefined {
  const { spec } = action;
  const key = identityKey(spec.key);
  const there = observed.hooks.find((hook) => hook.key === key);
  const ids = new Map(observed.programs.map((program) => [renderIdentity(program), program.programId]));
  if (there?.isAttached === true && !isKnown(there, observed.programs)) return undefined;
  const members: ChainMember[] = [];
  for (const member of action.members) {
    if (isLoaded(member)) {
      members.push(member);
      continue;
    }
    const reloaded = ids.get(renderIdentity(member.identity));
    if (reloaded !== undefined && there?.members.includes(reloaded)) return undefined;
    const earlier = earlierOf(member, action, observed.programs, there);
    if (earlier === undefined) continue;
    const identity = { key: earlier.key, generation: earlier.generation };
    members.push({ ...member, identity, mode: "stub", isEarlier: true });
  }
  const generation = members.length === 0 ? "" : hookGeneration(spec.point, members);
  return { members, generation, isInForce: isInForce(members, action, there, ids) };
}

function isKnown(hook: ObservedHook, programs: readonly ObservedProgram[]): boolean {
  const known = new Set(programs.map((program) => program.programId));
  return hook.members.length > 0 && hook.members.every((id) => known.has(id));
}

/** The one that runs there; the newest where nothing runs now. What never ran on a hook does not come to it by a failure. */
function earlierOf(
  { identity, spec }: ChainMember,
  action: SetHook,
  programs: readonly ObservedProgram[],
  there: ObservedHook | undefined,
): ObservedProgram | undefined {
  const isRunning = (program: ObservedProgram) => Number(there?.members.includes(program.programId) ?? false);
  return programs
    .filter((program) => there?.isAttached !== true || isRunning(program) === 1)
    .filter(({ key, generation }) => key === identity.key && generation !== identity.generation)
    .filter(({ type }) => !isInterfacePoint(action.spec.point) || type === spec.type)
    .toSorted((a, b) => isRunning(b) - isRunning(a) || b.programId - a.programId)[0];
}

function isInForce(
  members: readonly ChainMember[],
  { spec }: SetHook,
  there: ObservedHook | undefined,
  ids: ReadonlyMap<string, number>,
): boolean {
  if (members.length === 0 || there === undefined) return members.length === 0 && there === undefined;
  if (!there.isAttached || there.members.length !== members.length) return false;
  const isSame = members.every(({ identity }, at) => ids.get(renderIdentity(identity)) === there.members[at]);
  const generations = (["stub", "inline"] as const).map((mode) =>
    hookGeneration(
      spec.point,
      members.map((member) => ({ ...member, mode })),
    ),
  );
  return isSame && [hookGeneration(spec.point, members), ...generations].includes(there.generation);
}
