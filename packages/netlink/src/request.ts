import { encodeAttribute, encodeText, encodeU32 } from "./attributes.ts";
import { encodeMessage, messageFlags } from "./message.ts";
import { tcHandles } from "./traffic-control.ts";

/** `RTM_NEW*` numbers; the matching `RTM_DEL*` is one more, `RTM_GET*` two more. */
export const routeTypesBase = { link: 16, address: 20, route: 24, neighbour: 28, qdisc: 36, filter: 44 } as const;

export type RouteTable = keyof typeof routeTypesBase;

/** Numbers of the groups whose events a socket can join: `RTNLGRP_*`. */
export const eventGroups = {
  link: 1,
  neighbour: 3,
  trafficControl: 4,
  ipv4Address: 5,
  ipv4Route: 7,
  ipv6Address: 9,
  ipv6Route: 11,
} as const;

/** `RT_TABLE_MAIN`: where ordinary routes stand. */
export const mainTable = 254;

export interface DumpOptions {
  readonly sequence: number;
  /** Qdiscs and filters: of this interface. Filters need it. */
  readonly ifindex?: number | undefined;
  /** Filters: under this parent. */
  readonly parent?: number | undefined;
  /** Routes: of this routing table. The socket must have NETLINK_GET_STRICT_CHK, else all come. */
  readonly routeTable?: number | undefined;
  /** Links and addresses: those of another network namespace, by its number in the one that is asked. */
  readonly namespaceId?: number | undefined;
}

const headBytes: Record<RouteTable, number> = { link: 16, address: 8, route: 12, neighbour: 12, qdisc: 20, filter: 20 };
const extMask = 29;
const linkName = 3;
const routeTableAttribute = 15;
/** IFLA_TARGET_NETNSID, IFA_TARGET_NETNSID. */
const targetNamespace = { link: 46, address: 10 } as const;
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
  const target =
    options.namespaceId !== undefined && (table === "link" || table === "address")
      ? encodeAttribute(targetNamespace[table], encodeU32(options.namespaceId))
      : new Uint8Array();
  const attributes =
    table === "link"
      ? encodeAttribute(extMask, encodeU32(skipStats))
      : table === "route" && options.routeTable !== undefined
        ? encodeAttribute(routeTableAttribute, encodeU32(options.routeTable))
        : new Uint8Array();
  return encodeMessage({
    type: routeTypesBase[table] + 2,
    flags: messageFlags.request | messageFlags.dump,
    sequence: options.sequence,
    portId: 0,
    payload: join(head, join(attributes, target)),
  });
}

/** Asks for one interface, by number or by name. */
export function encodeLinkRequest(
  which: { readonly ifindex: number } | { readonly name: string },
  sequence: number,
): Uint8Array {
  const head = new Uint8Array(headBytes.link);
  if ("ifindex" in which) new DataView(head.buffer).setInt32(4, which.ifindex, true);
  const name = "name" in which ? encodeAttribute(linkName, encodeText(which.name)) : new Uint8Array();
  return encodeMessage({
    type: routeTypesBase.link + 2,
    flags: messageFlags.request,
    sequence,
    portId: 0,
    payload: join(join(head, name), encodeAttribute(extMask, encodeU32(skipStats))),
  });
}

/** Takes the clsact qdisc from an interface, with all filters below it. */
export function encodeClsactRemoval(ifindex: number, sequence: number): Uint8Array {
  const head = new Uint8Array(headBytes.qdisc);
  const view = new DataView(head.buffer);
  view.setInt32(4, ifindex, true);
  view.setUint32(8, tcHandles.clsact & 0xffff0000, true);
  view.setUint32(12, tcHandles.clsact, true);
  return encodeMessage({
    type: routeTypesBase.qdisc + 1,
    flags: messageFlags.request | messageFlags.ack,
    sequence,
    portId: 0,
    payload: head,
  });
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
