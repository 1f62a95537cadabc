import {
  decodeEvent,
  DumpCollector,
  encodeDumpRequest,
  encodeLinkRequest,
  parseMessages,
  readMessage,
  type Link,
} from "@bpfleet/netlink";
import { NetlinkSocket, type Netns } from "./binding.ts";
import { refusal } from "./kernel-error.ts";

/** The interfaces of a network namespace. Names in /sys may be those of another one, so the kernel is asked. */
export interface Interfaces {
  readonly byName: ReadonlyMap<string, number>;
  readonly byIndex: ReadonlyMap<number, string>;
}

/** With ids of the XDP programs on each that has any. */
export interface ListedInterfaces extends Interfaces {
  readonly xdp: ReadonlyMap<number, readonly number[]>;
}

const tries = 5;
const noDevice = 19; // ENODEV

export const noInterfaces: Interfaces = { byName: new Map(), byIndex: new Map() };

export async function readInterfaces(netns?: string | Netns): Promise<ListedInterfaces> {
  await using socket = NetlinkSocket.open({ family: "route", ...(netns !== undefined && { netns }) });
  for (let sequence = 1; sequence <= tries; sequence++) {
    const links = await dumpLinks(socket, sequence);
    if (links === undefined) continue;
    return {
      byName: new Map(links.map(({ name, ifindex }) => [name, ifindex])),
      byIndex: new Map(links.map(({ name, ifindex }) => [ifindex, name])),
      xdp: new Map(
        links.flatMap(({ ifindex, xdp }) => (xdp === undefined ? [] : [[ifindex, xdp.programIds] as const])),
      ),
    };
  }
  throw refusal("list interfaces", `the list changed ${tries} times while it was read`, "stale", "RTM_GETLINK");
}

/** As `readInterfaces`, of those with these names, each asked for alone. */
export async function findInterfaces(names: Iterable<string>, netns?: string | Netns): Promise<Interfaces> {
  const found: [string, number][] = [];
  await using socket = NetlinkSocket.open({ family: "route", ...(netns !== undefined && { netns }) });
  let sequence = 0;
  for (const name of names) {
    await socket.send(encodeLinkRequest({ name }, ++sequence));
    const ifindex = await readLink(socket, name, sequence);
    if (ifindex !== undefined) found.push([name, ifindex]);
  }
  return { byName: new Map(found), byIndex: new Map(found.map(([name, ifindex]) => [ifindex, name])) };
}

async function readLink(socket: NetlinkSocket, name: string, sequence: number): Promise<number | undefined> {
  for await (const event of socket) {
    if (event.kind === "overrun") break;
    for (const message of parseMessages(event.data)) {
      if (message.sequence !== sequence) continue;
      const reading = readMessage(message);
      if (reading.kind === "refusal" && reading.refusal.errno === noDevice) return undefined;
      if (reading.kind === "refusal")
        throw refusal(`find ${name}`, `the kernel refused (${reading.refusal.errno})`, "internal", "RTM_GETLINK");
      const item = reading.kind === "data" ? decodeEvent(reading.message) : undefined;
      // The kernel also finds it by its other names, which no pin has.
      if (item?.table === "link") return item.link.name === name ? item.link.ifindex : undefined;
    }
  }
  throw refusal(`find ${name}`, "the kernel gave no answer", "stale", "RTM_GETLINK");
}

/** `undefined` when the list changed meanwhile. */
async function dumpLinks(socket: NetlinkSocket, sequence: number): Promise<readonly Link[] | undefined> {
  const collector = new DumpCollector(sequence);
  await socket.send(encodeDumpRequest("link", { sequence }));
  for await (const event of socket) {
    if (event.kind === "overrun") return undefined;
    const progress = collector.accept(event.data);
    if (progress.state === "torn") return undefined;
    if (progress.state === "refused")
      throw refusal("list interfaces", `the kernel refused (${progress.refusal.errno})`, "internal", "RTM_GETLINK");
    if (progress.state === "complete")
      return progress.items.flatMap((item) => (item.table === "link" ? [item.link] : []));
  }
  return undefined;
}
