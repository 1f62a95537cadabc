import { headOf, readAttributes, u16Of, u32Of, type Attributes } from "./attributes.ts";
import { ipFamily, scopeName } from "./address.ts";
import { renderIp } from "./address-text.ts";
import { align4, type NetlinkMessage } from "./message.ts";
import { NetlinkError } from "./netlink-error.ts";

export interface Route {
  readonly family: 4 | 6;
  /** `0.0.0.0` or `::` for the default route. */
  readonly destination: string;
  readonly prefixLength: number;
  readonly isDefault: boolean;
  /** 254 is main, 255 local. */
  readonly table: number;
  /** `unicast`, `local`, `broadcast`, `blackhole`, … or a number. */
  readonly type: string;
  /** `RTPROT_*`: 2 kernel, 3 boot, 4 static. */
  readonly protocol: number;
  readonly scope: string;
  readonly metric: number;
  readonly preferredSource: string | undefined;
  /** One for an ordinary route, several for a multipath route, none for `blackhole` and the like. */
  readonly hops: readonly NextHop[];
}

export interface NextHop {
  readonly ifindex: number | undefined;
  readonly gateway: string | undefined;
  readonly weight: number;
}

const rtmsgBytes = 12;
const rtnexthopBytes = 8;
const routeTypes = [
  "unspec",
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
  "throw",
  "nat",
  "xresolve",
];
const attribute = {
  destination: 1,
  outputIfindex: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  multipath: 9,
  table: 15,
  via: 18,
} as const;

/** `undefined` for families other than IPv4 and IPv6. */
export function decodeRoute({ payload }: NetlinkMessage): Route | undefined {
  const head = headOf(payload, rtmsgBytes, "rtmsg");
  const family = ipFamily(head.getUint8(0));
  if (family === undefined) return undefined;
  const attributes = readAttributes(payload.subarray(rtmsgBytes));
  const destination = attributes.get(attribute.destination);
  const prefixLength = head.getUint8(1);
  const table = attributes.get(attribute.table);
  const metric = attributes.get(attribute.priority);
  const source = attributes.get(attribute.preferredSource);
  const type = head.getUint8(7);
  return {
    family,
    destination: renderIp(destination ?? new Uint8Array(family === 4 ? 4 : 16)),
    prefixLength,
    isDefault: prefixLength === 0,
    table: table === undefined ? head.getUint8(4) : u32Of(table, "RTA_TABLE"),
    type: routeTypes[type] ?? `${type}`,
    protocol: head.getUint8(5),
    scope: scopeName(head.getUint8(6)),
    metric: metric === undefined ? 0 : u32Of(metric, "RTA_PRIORITY"),
    preferredSource: source === undefined ? undefined : renderIp(source),
    hops: hopsOf(attributes),
  };
}

function hopsOf(attributes: Attributes): NextHop[] {
  const several = attributes.get(attribute.multipath);
  if (several !== undefined) return multipathOf(several);
  const output = attributes.get(attribute.outputIfindex);
  const gateway = gatewayOf(attributes);
  if (output === undefined && gateway === undefined) return [];
  return [{ ifindex: output === undefined ? undefined : u32Of(output, "RTA_OIF"), gateway, weight: 1 }];
}

function multipathOf(bytes: Uint8Array): NextHop[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hops: NextHop[] = [];
  for (let at = 0; bytes.length - at >= rtnexthopBytes;) {
    const length = view.getUint16(at, true);
    if (length < rtnexthopBytes || length > bytes.length - at) {
      throw new NetlinkError("malformed", `read RTA_MULTIPATH: a hop of ${length} bytes, ${bytes.length - at} left`);
    }
    hops.push({
      ifindex: view.getInt32(at + 4, true),
      gateway: gatewayOf(readAttributes(bytes.subarray(at + rtnexthopBytes, at + length))),
      weight: view.getUint8(at + 3) + 1,
    });
    at += align4(length);
  }
  return hops;
}

/** RTA_VIA carries a gateway of another family: its family first, then the address. */
function gatewayOf(attributes: Attributes): string | undefined {
  const gateway = attributes.get(attribute.gateway);
  if (gateway !== undefined) return renderIp(gateway);
  const via = attributes.get(attribute.via);
  if (via === undefined) return undefined;
  return ipFamily(u16Of(via, "RTA_VIA")) === undefined ? undefined : renderIp(via.subarray(2));
}
