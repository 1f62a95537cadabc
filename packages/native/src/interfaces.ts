import { DumpCollector, encodeDumpRequest } from "@bpfleet/netlink";
import { NetlinkSocket, type Netns } from "./binding.ts";
import { refusal } from "./kernel-error.ts";

/** The interfaces of a network namespace. Names in /sys may be those of another one, so the kernel is asked. */
export interface Interfaces {
  readonly byName: ReadonlyMap<string, number>;
  readonly byIndex: ReadonlyMap<number, string>;
}

const tries = 5;

export async function readInterfaces(netns?: string | Netns): Promise<Interfaces> {
  await using socket = NetlinkSocket.open({ family: "route", ...(netns !== undefined && { netns }) });
  for (let sequence = 1; sequence <= tries; sequence++) {
    const links = await dumpLinks(socket, sequence);
    if (links === undefined) continue;
    return { byName: new Map(links), byIndex: new Map(links.map(([name, ifindex]) => [ifindex, name])) };
  }
  throw refusal("list interfaces", `the list changed ${tries} times while it was read`, "stale", "RTM_GETLINK");
}

/** `undefined` when the list changed meanwhile. */
async function dumpLinks(socket: NetlinkSocket, sequence: number): Promise<[string, number][] | undefined> {
  const collector = new DumpCollector(sequence);
  await socket.send(encodeDumpRequest("link", { sequence }));
  for await (const event of socket) {
    if (event.kind === "overrun") return undefined;
    const progress = collector.accept(event.data);
    if (progress.state === "torn") return undefined;
    if (progress.state === "refused")
      throw refusal("list interfaces", `the kernel refused (${progress.refusal.errno})`, "internal", "RTM_GETLINK");
    if (progress.state === "complete") {
      return progress.items.flatMap((item) =>
        item.table === "link" ? [[item.link.name, item.link.ifindex] as [string, number]] : [],
      );
    }
  }
  return undefined;
}
