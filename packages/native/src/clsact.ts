import * as fs from "node:fs";
import { join } from "node:path";
import {
  DumpCollector,
  encodeClsactRemoval,
  encodeDumpRequest,
  tcHandles,
  type DumpOptions,
  type RouteItem,
  type RouteTable,
} from "@bpfleet/netlink";
import { NetlinkSocket, type Netns } from "./binding.ts";
import { refusal } from "./kernel-error.ts";
import { listNames } from "./pins.ts";

/** Where a filter of ours is, and whether the qdisc that it needs is ours too. */
export interface FilterRecord {
  /** Number of the network namespace; 0 when it is not known. */
  readonly netns: number;
  readonly ifindex: number;
  readonly isClsactOurs: boolean;
}

/** An empty folder in the bpffs, whose name says it: like a pin, it goes when the node starts anew. */
export function readRecords(folder: string): FilterRecord[] {
  return listNames(folder).flatMap((name) => {
    const parts = /^(\d+)-(\d+)-([01])$/.exec(name);
    return parts === null
      ? []
      : [{ netns: Number(parts[1]), ifindex: Number(parts[2]), isClsactOurs: parts[3] === "1" }];
  });
}

export function writeRecord(folder: string, record: FilterRecord): void {
  const name = nameOf(record);
  fs.mkdirSync(join(folder, name), { recursive: true, mode: 0o700 });
  for (const other of listNames(folder)) if (other !== name) fs.rmdirSync(join(folder, other));
}

function nameOf({ netns, ifindex, isClsactOurs }: FilterRecord): string {
  return `${netns}-${ifindex}-${isClsactOurs ? 1 : 0}`;
}

/** The number that tells network namespaces apart. */
export function netnsNumber(netns: string | Netns | undefined): number {
  if (netns !== undefined && typeof netns !== "string") return 0;
  return fs.statSync(netns ?? "/proc/self/ns/net").ino;
}

/** A path to a network namespace that has a name or a process; `undefined` when it is gone, with all that was in it. */
export function findNetns(number: number): string | undefined {
  const named = listNames("/run/netns").map((name) => `/run/netns/${name}`);
  const processes = listNames("/proc").flatMap((name) => (/^\d+$/.test(name) ? [`/proc/${name}/ns/net`] : []));
  return [...named, ...processes].find((path) => {
    try {
      return fs.statSync(path).ino === number;
    } catch {
      return false; // It ended meanwhile, or is no namespace.
    }
  });
}

export async function hasClsact(ifindex: number, netns: string | Netns | undefined): Promise<boolean> {
  const items = await dump("qdisc", { ifindex }, netns);
  return items.some((item) => item.table === "qdisc" && item.qdisc.ifindex === ifindex && item.qdisc.kind === "clsact");
}

/** A filter of tc that runs a program. */
export interface ProgramFilter {
  readonly ifindex: number;
  readonly direction: "ingress" | "egress";
  readonly programId: number;
  readonly priority: number;
  readonly handle: number;
}

const directions = [
  [tcHandles.clsactIngress, "ingress"],
  [tcHandles.clsactEgress, "egress"],
] as const;

/** Those that anybody has on the way in or out of any interface. */
export async function listProgramFilters(netns: string | Netns | undefined): Promise<ProgramFilter[]> {
  const qdiscs = (await dump("qdisc", {}, netns)).flatMap((item) => (item.table === "qdisc" ? [item.qdisc] : []));
  const found: ProgramFilter[] = [];
  for (const { ifindex, kind } of qdiscs) {
    if (kind !== "clsact" && kind !== "ingress") continue;
    for (const [parent, direction] of kind === "clsact" ? directions : directions.slice(0, 1)) {
      for (const item of await dump("filter", { ifindex, parent }, netns)) {
        if (item.table !== "filter" || item.filter.bpf?.programId === undefined) continue;
        const { priority, handle, bpf } = item.filter;
        found.push({ ifindex, direction, programId: bpf.programId ?? 0, priority, handle });
      }
    }
  }
  return found;
}

/** Takes the clsact qdisc away when no filter is left below it. */
export async function removeIdleClsact(ifindex: number, netns: string | Netns | undefined): Promise<void> {
  if (!(await hasClsact(ifindex, netns))) return;
  for (const parent of [tcHandles.clsactIngress, tcHandles.clsactEgress])
    if ((await dump("filter", { ifindex, parent }, netns)).length > 0) return;
  await using socket = NetlinkSocket.open({ family: "route", ...(netns !== undefined && { netns }) });
  await socket.send(encodeClsactRemoval(ifindex, 1));
  // The answer says that it is done, or that interface or qdisc went by themselves.
  for await (const _event of socket) return;
}

async function dump(
  table: RouteTable,
  options: Omit<DumpOptions, "sequence">,
  netns: string | Netns | undefined,
): Promise<readonly RouteItem[]> {
  await using socket = NetlinkSocket.open({ family: "route", ...(netns !== undefined && { netns }) });
  for (let sequence = 1; sequence <= 5; sequence++) {
    const collector = new DumpCollector(sequence);
    await socket.send(encodeDumpRequest(table, { sequence, ...options }));
    for await (const event of socket) {
      if (event.kind === "overrun") break;
      const progress = collector.accept(event.data);
      if (progress.state === "complete") return progress.items;
      // The interface is gone.
      if (progress.state === "refused") return [];
      if (progress.state === "torn") break;
    }
  }
  throw refusal(`list ${table}s`, "the list changed while it was read", "stale", "RTM_GETQDISC");
}
