import type { Offer } from "../facts.ts";
import type { MemberMode } from "../port.ts";
import { mainSlots } from "./generate.ts";
import type { CodeFacts } from "./scan.ts";

/** What decides how a member can run. */
export interface MemberFacts {
  /** As messages name it. */
  readonly name: string;
  /** `undefined` when only the loaded program is at hand. */
  readonly code?: CodeFacts | undefined;
  /** What the verifier reported for the program alone, in bytes; 0 when nobody asked. */
  readonly stack: number;
  readonly verifiedInsns: number;
  /** Kernel ids of its maps. */
  readonly mapIds: readonly number[];
  readonly license: string;
  readonly hasFrags: boolean;
  readonly isDeviceBound: boolean;
}

export interface PlacedMember {
  readonly mode: MemberMode;
  /** Why a member that asked for `inline` is a stub: a sentence without its subject, "has subprograms". */
  readonly why?: string | undefined;
}

export type ChainPlan =
  | { readonly ok: true; readonly placed: readonly PlacedMember[]; readonly hasFrags: boolean }
  | { readonly ok: false; readonly limit: ChainLimit; readonly message: string };

export type ChainLimit = "tail-calls" | "device-bound" | "no-stubs";

export interface ChainOffers {
  readonly inline: Offer;
  readonly stub: Offer;
}

const MAX_MAPS = 64;
const MAX_VERIFIED = 1_000_000;
/** What main itself costs the verifier per member, generously. */
const VERIFIED_OVERHEAD = 200;
const MAX_TAIL_CALLS = 33;
const MAX_STACK = 512;
/** A function that tail-calls may only be called from below 256 bytes, counted in steps of up to 32. */
const MAX_STACK_WITH_STUBS = 224;

/** As the kernel's license_is_gpl_compatible. */
const gplCompatible = new Set([
  "GPL",
  "GPL v2",
  "GPL and additional rights",
  "Dual BSD/GPL",
  "Dual MIT/GPL",
  "Dual MPL/GPL",
]);

/** How one member can run, looked at alone. */
export function chooseMode(member: MemberFacts): PlacedMember {
  const why = obstacle(member);
  return why === undefined ? { mode: "inline" } : { mode: "stub", why };
}

function obstacle(member: MemberFacts): string | undefined {
  const { code, license } = member;
  if (code === undefined) return "is known only as a loaded program";
  if (code.obstacle !== undefined) return code.obstacle;
  if (!gplCompatible.has(license)) return `is licensed "${license}", which main, being GPL, must not contain`;
  const used = stackOf(member);
  if (used > MAX_STACK - mainSlots(true))
    return `uses ${used} bytes of stack; main needs ${mainSlots(true)} of the ${MAX_STACK}`;
  return undefined;
}

/**
 * Bytes of stack that a member touches. The verifier's figure leaves out spills around calls that it
 * removed from the program alone, and keeps in main; those are direct stores.
 */
export function stackOf({ code, stack }: MemberFacts): number {
  return Math.max(code?.directStack ?? 0, stack);
}

/**
 * Places every member: inline where asked for and possible, else as a stub, or names the limit that
 * forbids the chain. Where main as a whole would be too large, the members that weigh most go first.
 */
export function planChain(
  members: readonly { readonly facts: MemberFacts; readonly wants: MemberMode }[],
  offers: ChainOffers,
): ChainPlan {
  const device = members.find(({ facts }) => facts.isDeviceBound);
  if (device !== undefined) {
    return {
      ok: false,
      limit: "device-bound",
      message: `${device.facts.name} is bound to a device, and a chain is not; load it without rx metadata, or attach it alone`,
    };
  }
  const placed: PlacedMember[] = members.map(({ facts, wants }) => {
    if (wants === "stub") return { mode: "stub" };
    if (!offers.inline.has) return { mode: "stub", why: `cannot be copied on this kernel: ${offers.inline.why}` };
    return chooseMode(facts);
  });
  for (let move = nextMove(members, placed); move !== undefined; move = nextMove(members, placed))
    placed[move.index] = { mode: "stub", why: move.why };

  const stubs = placed.filter(({ mode }) => mode === "stub").length;
  if (stubs > 0 && !offers.stub.has) {
    const index = placed.findIndex(({ mode }) => mode === "stub");
    const why = placed[index]?.why ?? "asks for a stub";
    return {
      ok: false,
      limit: "no-stubs",
      message: `${members[index]?.facts.name} ${why}, and this kernel has no tail stubs: ${offers.stub.why}`,
    };
  }
  const own = members.reduce((sum, { facts }) => sum + (facts.code?.tailCalls ?? 0), 0);
  if (stubs + own > MAX_TAIL_CALLS) {
    const text = `${stubs} of its ${members.length} members are called through stubs${own > 0 ? ` and make ${own} tail calls of their own` : ""}; a packet gets ${MAX_TAIL_CALLS} tail calls in all`;
    return {
      ok: false,
      limit: "tail-calls",
      message: `${text}; run fewer programs on this hook, or programs that can be inlined`,
    };
  }
  // A packet in fragments may only meet programs that all know of them.
  return { ok: true, placed, hasFrags: members.length > 0 && members.every(({ facts }) => facts.hasFrags) };
}

interface Move {
  readonly index: number;
  readonly why: string;
}

/** The next inlined member that has to become a stub because of main as a whole. */
function nextMove(
  members: readonly { readonly facts: MemberFacts }[],
  placed: readonly PlacedMember[],
): Move | undefined {
  const inlined = members.flatMap(({ facts }, index) => (placed[index]?.mode === "inline" ? [{ facts, index }] : []));
  const hasStubs = inlined.length < members.length;

  if (hasStubs) {
    const room = MAX_STACK_WITH_STUBS - mainSlots(true);
    const deep = inlined.find(({ facts }) => stackOf(facts) > room);
    if (deep !== undefined)
      return { index: deep.index, why: `uses ${stackOf(deep.facts)} bytes of stack; beside stubs ${room} are free` };
  }
  const room = MAX_MAPS - 1 - (hasStubs ? 1 : 0);
  const users = new Map<number, number>();
  for (const { facts } of inlined) for (const id of new Set(facts.mapIds)) users.set(id, (users.get(id) ?? 0) + 1);
  if (users.size > room) {
    const own = ({ facts }: (typeof inlined)[number]): number =>
      new Set(facts.mapIds.filter((id) => users.get(id) === 1)).size;
    return heaviest(inlined, own, `brings the maps of one program to ${users.size} of ${MAX_MAPS}`);
  }
  const verified = inlined.reduce((sum, { facts }) => sum + facts.verifiedInsns + VERIFIED_OVERHEAD, 0);
  if (verified > MAX_VERIFIED) {
    return heaviest(
      inlined,
      ({ facts }) => facts.verifiedInsns,
      `brings the instructions to verify at once to ${verified} of ${MAX_VERIFIED}`,
    );
  }
  return undefined;
}

/** The one of the greatest weight, the later one among equals. */
function heaviest<M extends { readonly index: number }>(
  members: readonly M[],
  weigh: (member: M) => number,
  why: string,
): Move | undefined {
  let choice: M | undefined;
  for (const member of members) if (choice === undefined || weigh(member) >= weigh(choice)) choice = member;
  return choice && { index: choice.index, why };
}
