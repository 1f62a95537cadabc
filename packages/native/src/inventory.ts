import {
  isTracingPoint,
  parseHookKey,
  placeOf,
  type Inventory,
  type InventoryLink,
  type MapType,
  type ObservedKernel,
} from "@bpfleet/kernel";
import { list, queryHook, type LinkInfo, type Netns, type Target } from "./binding.ts";
import { cgroupPaths } from "./cgroups.ts";
import type { ChainRecords } from "./chain-record.ts";
import { listProgramFilters } from "./clsact.ts";
import { inNetns } from "./hook-places.ts";
import { readInterfaces, type Interfaces, type ListedInterfaces } from "./interfaces.ts";

/** Everything on the machine; what is ours carries the key of what it is in the plan, or whose part it is. */
export async function readInventory(
  observed: ObservedKernel,
  chains: ChainRecords,
  hookKeys: readonly string[],
  netns: string | Netns | undefined,
): Promise<Inventory> {
  const [programs, maps, links, interfaces] = await Promise.all([
    list("prog"),
    list("map"),
    list("link"),
    readInterfaces(netns),
  ]);
  const ourPrograms = new Map(observed.programs.map((program) => [program.programId, program.key]));
  const ourMaps = new Map(observed.maps.map((map) => [map.mapId, map.key]));
  for (const key of hookKeys) {
    for (const chain of chains.list(key)) {
      ourPrograms.set(chain.mainId, key);
      for (const id of chains.mapIds(chain)) ourMaps.set(id, key);
    }
  }
  // Constants and other maps that belong to one program alone.
  for (const { id, mapIds } of programs) {
    const owner = ourPrograms.get(id);
    if (owner !== undefined) for (const mapId of mapIds) if (!ourMaps.has(mapId)) ourMaps.set(mapId, owner);
  }
  const ourLinks = new Map(observed.hooks.map((hook) => [hook.linkId, hook.key]));
  const cgroups = links.some((link) => link.type === "cgroup") ? cgroupPaths() : new Map<bigint, string>();
  const programTypes = new Map(programs.map(({ id, type }) => [id, type]));
  const here = await linksHere(links, ourLinks, interfaces, netns);
  return {
    programs: programs.map((program) => ({
      id: program.id,
      type: program.type,
      name: program.name,
      tag: program.tag,
      loadedAt: program.loadedAt.toISOString(),
      uid: program.uid,
      mapIds: program.mapIds,
      runCount: program.runCount,
      runTimeNs: program.runTimeNs,
      verifiedInsns: program.verifiedInstructions,
      jitedBytes: program.jitedSize,
      ours: ourPrograms.get(program.id),
    })),
    maps: maps.map(({ id, type, name, keySize, valueSize, maxEntries, flags }) => ({
      id,
      type: type as MapType,
      name,
      definition: { keySize, valueSize, maxEntries, flags },
      ours: ourMaps.get(id),
    })),
    links: [
      ...links.map((link) => ({
        id: link.id,
        type: link.type,
        programId: link.programId,
        target: probeOf(ourLinks.get(link.id)) ?? targetOf(link, programTypes, interfaces, cgroups, here),
        ours: ourLinks.get(link.id),
      })),
      ...observed.hooks.filter((hook) => hook.linkId === 0).map((hook) => filterLink(hook.key, hook.programId)),
      ...withoutLink(links, here, interfaces),
      ...(await foreignFilters(observed, interfaces, netns)),
    ],
  };
}

/**
 * A link tells the number of its interface, but not the namespace that counts so: which of them are at our
 * interfaces, our interfaces tell. XDP tells its program only, which may be on equal numbers of two namespaces.
 */
async function linksHere(
  links: readonly LinkInfo[],
  ours: ReadonlyMap<number, string>,
  interfaces: ListedInterfaces,
  netns: string | Netns | undefined,
): Promise<ReadonlySet<number>> {
  const here = new Set<number>();
  for (const link of links) {
    const { ifindex } = link;
    if (ifindex === undefined || !interfaces.byIndex.has(ifindex)) continue;
    const isXdpHere = link.type === "xdp" && interfaces.xdp.get(ifindex)?.includes(link.programId);
    if (ours.has(link.id) || isXdpHere === true || (await isOnItsHook(link, netns))) here.add(link.id);
  }
  return here;
}

async function isOnItsHook(link: LinkInfo, netns: string | Netns | undefined): Promise<boolean> {
  const target = targetAt(link);
  const state = target && (await queryHook(target, inNetns({ netns })).catch(() => undefined));
  return state?.links.includes(link.id) === true;
}

function targetAt({ type, attachType, ifindex }: LinkInfo): Target | undefined {
  if (ifindex === undefined || ifindex === 0) return undefined;
  if (type === "tcx") return { tcx: ifindex, dir: attachType === "tcx_egress" ? "egress" : "ingress" };
  return type === "netkit" ? { netkit: ifindex, peer: attachType === "netkit_peer" } : undefined;
}

/** `xdp eth0`, `cgroup_inet_egress /pods/a`; interfaces of other namespaces by number. */
function targetOf(
  link: LinkInfo,
  programTypes: ReadonlyMap<number, string>,
  interfaces: Interfaces,
  cgroups: ReadonlyMap<bigint, string>,
  here: ReadonlySet<number>,
): string {
  const { type, attachType, ifindex, cgroupId, tracepoint, netnsInode, targetProgramId } = link;
  const kind = attachType ?? type;
  if (ifindex !== undefined) {
    if (ifindex === 0) return `${kind} of an interface that is gone`;
    const name = here.has(link.id) ? interfaces.byIndex.get(ifindex) : undefined;
    return `${kind} ${name ?? `ifindex ${ifindex} in another namespace`}`;
  }
  if (cgroupId !== undefined)
    return cgroupId === 0n
      ? `${kind} of a cgroup that is gone`
      : `${kind} ${cgroups.get(cgroupId) ?? `cgroup ${cgroupId}`}`;
  if (tracepoint !== undefined) return `${type} ${tracepoint}`;
  // Of fentry and fexit the number may be that of types of the kernel too.
  if (targetProgramId !== undefined && programTypes.get(link.programId) === "ext")
    return `${kind} program ${targetProgramId}`;
  return netnsInode === undefined ? kind : `${kind} netns ${netnsInode}`;
}

/** `uprobe /usr/bin/node:poke`: of our own links at functions, of which many kernels tell nothing. */
function probeOf(key: string | undefined): string | undefined {
  const point = key === undefined ? undefined : parseHookKey(key);
  if (point === undefined || !isTracingPoint(point)) return undefined;
  if (point.hook === "tracepoint" || point.hook === "raw_tracepoint") return undefined;
  const name = "binary" in point ? `${placeOf(point)}:${point.function}` : placeOf(point);
  return `${point.hook} ${name}${"offset" in point && point.offset > 0 ? `+${point.offset}` : ""}`;
}

function filterLink(key: string, programId: number): InventoryLink {
  return { id: 0, type: "cls_bpf", programId, target: key.replace("/", " "), ours: key };
}

/** Programs that others have in filters of tc. */
async function foreignFilters(
  { hooks }: ObservedKernel,
  { byIndex }: Interfaces,
  netns: string | Netns | undefined,
): Promise<InventoryLink[]> {
  const ours = new Set(hooks.filter(({ linkId }) => linkId === 0).map(({ programId }) => programId));
  const filters = await listProgramFilters(netns);
  return filters
    .filter(({ programId }) => !ours.has(programId))
    .map(({ ifindex, direction, programId, priority, handle }) => {
      const target = `tc-${direction} ${byIndex.get(ifindex) ?? `ifindex ${ifindex}`}`;
      const place = `pref ${priority} handle 0x${handle.toString(16)}`;
      return { id: 0, type: "cls_bpf", programId, target: `${target} ${place}` };
    });
}

/** XDP programs that somebody attached by netlink. To ask for each interface has the kernel list all of them each time. */
function withoutLink(
  links: readonly LinkInfo[],
  here: ReadonlySet<number>,
  { byIndex, xdp }: ListedInterfaces,
): InventoryLink[] {
  const held = new Set(links.filter((link) => link.type === "xdp" && here.has(link.id)).map((link) => link.ifindex));
  return [...xdp].flatMap(([ifindex, programs]) =>
    held.has(ifindex)
      ? []
      : programs.map((programId) => ({ id: 0, type: "xdp", programId, target: `xdp ${byIndex.get(ifindex)}` })),
  );
}
