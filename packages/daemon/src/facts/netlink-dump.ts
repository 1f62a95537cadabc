import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { KernelError } from "@bpfleet/base";
import { NetlinkSocket } from "@bpfleet/native";
import { DumpCollector, encodeDumpRequest, type DumpOptions, type RouteItem, type RouteTable } from "@bpfleet/netlink";

const attempts = 5;
let lastSequence = 0;

/** All rows of one table, asked again when it changed while it was read. */
export async function dumpTable<T extends RouteTable>(
  table: T,
  options: Omit<DumpOptions, "sequence"> & { readonly netns?: string | undefined } = {},
): Promise<Extract<RouteItem, { table: T }>[]> {
  const { netns, ...rest } = options;
  // No groups: nothing but the answers comes in here.
  await using socket = NetlinkSocket.open({ family: "route", ...(netns === undefined ? {} : { netns }) });
  for (let attempt = 0; attempt < attempts; attempt++) {
    const items = await dumpOnce(socket, table, rest);
    if (items !== undefined)
      return items.filter((item): item is Extract<RouteItem, { table: T }> => item.table === table);
  }
  throw new KernelError(`list ${table}s: the table changed during each of ${attempts} attempts`, {
    code: "stale",
    call: "RTM_GET",
    retry: "backoff",
  });
}

async function dumpOnce(
  socket: NetlinkSocket,
  table: RouteTable,
  options: Omit<DumpOptions, "sequence">,
): Promise<readonly RouteItem[] | undefined> {
  const sequence = ++lastSequence;
  const collector = new DumpCollector(sequence);
  await socket.send(encodeDumpRequest(table, { ...options, sequence }));
  while (true) {
    const event = await socket.next();
    if (event === undefined || event.kind === "overrun") return undefined;
    const progress = collector.accept(event.data);
    if (progress.state === "complete") return progress.items;
    if (progress.state === "torn") return undefined;
    if (progress.state === "refused") {
      const { errno, text } = progress.refusal;
      const name = getSystemErrorName(-errno);
      throw new KernelError(`list ${table}s: ${text || getSystemErrorMessage(-errno)} (${name})`, {
        code: "invalid",
        call: "RTM_GET",
        errno: name,
        retry: "backoff",
      });
    }
  }
}
