import { setTimeout } from "node:timers/promises";
import { KernelError } from "@bpfleet/base";
import { isInterfacePoint, type HookPoint, type HookRequest, type TracingPoint, type XdpMode } from "@bpfleet/kernel";
import {
  BpfLink,
  BpfProgram,
  detachClsBpf,
  list,
  queryClsBpf,
  queryHook,
  type AttachOptions,
  type ClsBpf,
  type LinkInfo,
  type Netns,
  type Target,
} from "./binding.ts";
import { cgroupAttachTypes, cgroupFolder, findCgroupId } from "./cgroups.ts";
import { findInterfaces, noInterfaces, type Interfaces } from "./interfaces.ts";
import { hasCode, kernelError, refusal } from "./kernel-error.ts";
import { pinAt, unpin } from "./pins.ts";

/** Where in the kernel one hook is, now. */
export interface Place {
  readonly point: Exclude<HookPoint, TracingPoint>;
  readonly ifindex: number;
  readonly target: Target;
  readonly netns: string | Netns | undefined;
  readonly interfaces: Interfaces;
}

const tracingLinks: ReadonlySet<string> = new Set(["raw_tracepoint", "perf_event", "tracing"]);

type InNetns = { readonly inNetns?: string | Netns };

/** Throws interface-missing or not-found when the interface or cgroup is not there. */
export async function findPlace(
  point: Place["point"],
  netns: string | Netns | undefined,
  mode: HookRequest["mode"],
): Promise<Place> {
  if (point.hook === "cgroup") {
    const target = { cgroup: cgroupFolder(point.path), attachType: cgroupAttachTypes[point.attach] };
    return { point, ifindex: 0, target, netns, interfaces: noInterfaces };
  }
  const interfaces = await findInterfaces([point.interface], netns);
  const ifindex = interfaces.byName.get(point.interface);
  if (ifindex === undefined) throw missingInterface(point.interface);
  const target: Target = point.hook === "xdp" ? { xdp: ifindex, mode } : { tcx: ifindex, dir: point.direction };
  return { point, ifindex, target, netns, interfaces };
}

/** Whether a link is at the interface or cgroup that the point names now. */
export function isLinkAt(
  info: LinkInfo,
  point: HookPoint | undefined,
  interfaces: Interfaces,
  idOf: (cgroup: string) => bigint | undefined = findCgroupId,
): boolean {
  if (info.type === "cgroup") {
    const isThere = info.cgroupId !== undefined && info.cgroupId !== 0n;
    return isThere && (point?.hook !== "cgroup" || idOf(point.path) === info.cgroupId);
  }
  // These hold what they watch.
  if (tracingLinks.has(info.type)) return true;
  if (info.ifindex === undefined || info.ifindex === 0) return false;
  return point === undefined || !isInterfacePoint(point) || interfaces.byName.get(point.interface) === info.ifindex;
}

export function openLink(path: string): BpfLink | undefined {
  try {
    return BpfLink.openPinned(path);
  } catch (error) {
    if (hasCode(error, "not-found")) return undefined;
    throw error;
  }
}

/**
 * Attaches by a link and pins it, or swaps the program of the link that is pinned there. A link of ours
 * that somebody unpinned is taken up again as long as anything holds it. A link of the mode `earlier` gives way to one
 * of the place's, and is made again where that cannot be. Where the place is taken, `takeOver` may pin there what has it.
 */
export async function setLink(
  place: Place,
  program: BpfProgram,
  pin: string,
  what: string,
  isOurs: IsOurs,
  { earlier, takeOver }: { readonly earlier?: XdpMode | undefined; readonly takeOver?: () => boolean } = {},
): Promise<void> {
  await using held = openLink(pin);
  if (held !== undefined) {
    const { info } = held;
    const isHere = info.type === "cgroup" ? isLinkAt(info, place.point, noInterfaces) : info.ifindex === place.ifindex;
    if (isHere && earlier === undefined) {
      using old = BpfProgram.fromId(info.programId);
      await held.update(program, old);
      return;
    }
    await detach(held, pin);
  }
  try {
    await using link = await attachOrAdopt(place, program, what, isOurs, takeOver);
    if (link === undefined) return await setLink(place, program, pin, what, isOurs, { earlier });
    pinAt(link, pin);
  } catch (error) {
    if (held === undefined || earlier === undefined) throw error;
    const back = { ...place, target: { xdp: place.ifindex, mode: earlier } };
    await using link = await attachOrAdopt(back, program, what, isOurs);
    if (link !== undefined) pinAt(link, pin);
    throw error;
  }
}

/** Whether a program is one that we put on this hook. */
export type IsOurs = (programId: number) => boolean;

const adoptTries = 50;
const adoptPauseMs = 20;

/** `undefined` where the place was taken over. */
async function attachOrAdopt(
  place: Place,
  program: BpfProgram,
  what: string,
  isOurs: IsOurs,
  takeOver: () => boolean = () => false,
): Promise<BpfLink | undefined> {
  for (let tries = 1; ; tries++) {
    try {
      return await attach(place, program, what);
    } catch (error) {
      if (!(error instanceof KernelError) || error.code !== "busy") throw error;
      if (takeOver()) return undefined;
      const { programs } = await queryHook(place.target, inNetns(place));
      if (tries === adoptTries || (programs.length > 0 && !programs.some(isOurs))) throw error;
      const found = (await list("link")).find((link) => link.type === "xdp" && programs.includes(link.programId));
      const link = found && linkById(found.id);
      if (link !== undefined) {
        try {
          await link.update(program);
          return link;
        } catch (failure) {
          await link.close();
          throw failure;
        }
      }
    }
    // Its last pin went a moment ago; the kernel takes the program off in its own time.
    await setTimeout(adoptPauseMs);
  }
}

/** `undefined` when it is gone or going. */
function linkById(id: number): BpfLink | undefined {
  try {
    return BpfLink.fromId(id);
  } catch (error) {
    if (hasCode(error, "not-found", "busy")) return undefined;
    throw error;
  }
}

/** Takes the program off and forgets the link. */
export async function clearLink(pin: string): Promise<void> {
  await using link = openLink(pin);
  if (link !== undefined) await detach(link, pin);
}

/** Unpinning alone would take the program off some time later. */
async function detach(link: BpfLink, pin: string): Promise<void> {
  try {
    await link.detach();
  } catch (error) {
    // Nothing to detach from: the interface or cgroup is gone.
    if (!hasCode(error, "not-found", "invalid", "other", "not-supported")) throw error;
  }
  unpin(pin);
}

async function attach(place: Place, program: BpfProgram, what: string): Promise<BpfLink> {
  const { point, target } = place;
  // Ours decides first on the way in and last on the way out, as on the wire.
  const order: AttachOptions =
    point.hook === "tc" ? { order: point.direction === "ingress" ? { first: true } : { last: true } } : {};
  try {
    return await program.attach(target, { ...order, ...inNetns(place) });
  } catch (error) {
    if (hasCode(error, "busy", "exists")) throw kernelError(what, error, { code: "busy", said: await holders(place) });
    if (point.hook === "cgroup" || hasCode(error, "not-permitted")) throw error;
    if (hasCode(error, "not-found")) throw kernelError(what, error, { code: "interface-missing" });
    if (point.hook !== "xdp" || !("mode" in target) || target.mode !== "native") throw error;
    throw kernelError(what, error, { code: "not-supported" });
  }
}

async function holders(place: Place): Promise<string> {
  const { programs } = await queryHook(place.target, inNetns(place));
  const names = programs.map((id) => {
    try {
      using program = BpfProgram.fromId(id);
      return `program ${id} (${program.info.name})`;
    } catch {
      return `program ${id}`;
    }
  });
  return names.length === 0 ? "it is taken" : `${names.join(", ")} holds it`;
}

/**
 * Where tc has no links: one filter of ours per interface and direction, whoever brought the programs in it, found
 * again by preference and handle. They are those of bpfd. On the way out too it stands before what tc numbers by
 * itself (from 49152 down): cls_bpf ends with the first verdict, so whoever stood behind could be passed by.
 */
export function filterAt(ifindex: number, direction: "ingress" | "egress", netns: string | Netns | undefined): ClsBpf {
  return {
    ifindex,
    direction,
    handle: 0x2,
    priority: 50,
    ...inNetns({ netns }),
  };
}

/** The id of the program in our filter; `undefined` without one. */
export async function findFilter(at: ClsBpf): Promise<number | undefined> {
  try {
    return (await queryClsBpf(at))?.programId;
  } catch (error) {
    // The interface went, or has no clsact yet.
    if (hasCode(error, "not-found", "invalid")) return undefined;
    throw error;
  }
}

export async function setFilter(at: ClsBpf, program: BpfProgram, isReplacing: boolean): Promise<void> {
  await program.attachClsBpf({ ...at, replace: isReplacing });
}

export async function clearFilter(at: ClsBpf): Promise<void> {
  try {
    await detachClsBpf(at);
  } catch (error) {
    if (!hasCode(error, "not-found", "invalid")) throw error;
  }
}

export function inNetns({ netns }: { readonly netns: string | Netns | undefined }): InNetns {
  return netns === undefined ? {} : { inNetns: netns };
}

export function missingInterface(name: string): Error {
  return refusal(`attach to ${name}`, "there is no such interface (ENODEV)", "interface-missing", "RTM_GETLINK");
}
