import { encodeAttribute, encodeText, encodeU32 } from "./attributes.ts";
import { encodeMessage, messageFlags } from "./message.ts";

/** `RTM_NEW*` numbers; the matching `RTM_DEL*` is one more, `RTM_GET*` two more. */
export const routeTypesBase = { link: 16, address: 20, route: 24, neighbour: 28, qdisc: 36, filter: 44 } as const;

export type RouteTable = keyof typeof routeTypesBase;

/** Bits for the address of a socket that wants events: `RTMGRP_*`. */
export const eventGroups = {
  link: 0x1,
  neighbour: 0x4,
  trafficControl: 0x8,
  ipv4Address: 0x10,
  ipv4Route: 0x40,
  ipv6Address: 0x100,
  ipv6Route: 0x400,
} as const;

export interface DumpOptions {
  readonly sequence: number;
  /** Qdiscs and filters: of this interface. Filters need it. */
  readonly ifindex?: number | undefined;
  /** Filters: under this parent. */
  readonly parent?: number | undefined;
}

const headBytes: Record<RouteTable, number> = { link: 16, address: 8, route: 12, neighbour: 12, qdisc: 20, filter: 20 };
const extMask = 29;
/** RTEXT_FILTER_SKIP_STATS. */
const skipStats = 1 << 3;

/** Asks for everything of one table; the answer comes in several parts, ended by `done`. */
export function encodeDumpRequest(table: RouteTable, options: DumpOptions): Uint8Array {
  const head = new Uint8Array(headBytes[table]);
  const view = new DataView(head.buffer);
  if (table === "qdisc" || table === "filter") {
    view.setInt32(4, options.ifindex ?? 0, true);
    view.setUint32(12, options.parent ?? 0, true);
  }
  const attributes = table === "link" ? encodeAttribute(extMask, encodeU32(skipStats)) : new Uint8Array();
  return encodeMessage({
    type: routeTypesBase[table] + 2,
    flags: messageFlags.request | messageFlags.dump,
    sequence: options.sequence,
    portId: 0,
    payload: join(head, attributes),
  });
}

/** Asks for one interface, by number or by name. */
export function encodeLinkRequest(which: { readonly ifindex: number } | { readonly name: string }, sequence: number): Uint8Array {
  const head = new Uint8Array(headBytes.link);
  if ("ifindex" in which) new DataView(head.buffer).setInt32(4, which.ifindex, true);
  const name = "name" in which ? encodeAttribute(3, encodeText(which.name)) : new Uint8Array();
  return encodeMessage({
    type: routeTypesBase.link + 2,
    flags: messageFlags.request,
    sequence,
    portId: 0,
    payload: join(join(head, name), encodeAttribute(extMask, encodeU32(skipStats))),
  });
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
