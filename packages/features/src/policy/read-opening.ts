import { renderAddress } from "../filter/address.ts";

/** What a packet says of itself that opens a flow. */
export interface Opening {
  /** 4 or 16 bytes in network order. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** IP protocol. */
  readonly protocol: number;
  /** Destination port, or ICMP's type; 0 where there is none. `undefined`: not in these bytes. */
  readonly port: number | undefined;
}

const vlanTypes = new Set([0x8100, 0x88a8, 0x9100]);
const icmp = new Set([1, 58]);
const withPorts = new Set([6, 17, 132]);

/** `undefined` for what carries no IP. Extension headers are not followed: the port is then not known. */
export function readOpening(head: Uint8Array, layer: "ethernet" | "network"): Opening | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  let at = 0;
  if (layer === "ethernet") {
    at = 12;
    while (at + 2 <= view.byteLength && vlanTypes.has(view.getUint16(at))) at += 4;
    at += 2;
  }
  const version = at < view.byteLength ? view.getUint8(at) >> 4 : 0;
  if (version === 4 && at + 20 <= view.byteLength) {
    const isFirst = (view.getUint16(at + 6) & 0x1fff) === 0;
    const behind = at + (view.getUint8(at) & 0xf) * 4;
    return openingOf(view, head, at + 12, 4, view.getUint8(at + 9), isFirst ? behind : Infinity);
  }
  if (version === 6 && at + 40 <= view.byteLength)
    return openingOf(view, head, at + 8, 16, view.getUint8(at + 6), at + 40);
  return undefined;
}

/** Whether the peer sent it, and whoever it is judged for receives it; `undefined` for what carries no IP. */
export function isFromPeer(peer: string, head: Uint8Array, layer: "ethernet" | "network"): boolean | undefined {
  const opening = readOpening(head, layer);
  return opening && renderAddress(opening.source) === peer;
}

function openingOf(
  view: DataView,
  head: Uint8Array,
  at: number,
  length: number,
  protocol: number,
  transport: number,
): Opening {
  const field = withPorts.has(protocol) ? 2 : 0;
  const isThere = transport + field + 2 <= view.byteLength;
  const port = !isThere ? undefined : icmp.has(protocol) ? view.getUint8(transport) : view.getUint16(transport + field);
  return {
    source: head.subarray(at, at + length),
    destination: head.subarray(at + length, at + 2 * length),
    protocol,
    port: withPorts.has(protocol) || icmp.has(protocol) ? port : 0,
  };
}
