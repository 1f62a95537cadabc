import { headOf, readAttributes } from "./attributes.ts";
import { ipFamily } from "./address.ts";
import { renderIp, renderMac } from "./address-text.ts";
import type { NetlinkMessage } from "./message.ts";

/** An entry of the ARP or neighbour discovery table. */
export interface Neighbour {
  readonly ifindex: number;
  readonly family: 4 | 6;
  readonly address: string;
  /** "" while it is not resolved. */
  readonly mac: string;
  /** `NUD_*` bits by name: `reachable`, `stale`, `permanent`, … */
  readonly states: readonly string[];
  readonly isRouter: boolean;
}

const ndmsgBytes = 12;
const attribute = { destination: 1, linkLayerAddress: 2 } as const;
const stateBits = ["incomplete", "reachable", "stale", "delay", "probe", "failed", "noarp", "permanent"];
const routerFlag = 0x80;

/** `undefined` for entries of a bridge's forwarding table. */
export function decodeNeighbour({ payload }: NetlinkMessage): Neighbour | undefined {
  const head = headOf(payload, ndmsgBytes, "ndmsg");
  const family = ipFamily(head.getUint8(0));
  const attributes = readAttributes(payload.subarray(ndmsgBytes));
  const address = attributes.get(attribute.destination);
  if (family === undefined || address === undefined) return undefined;
  const state = head.getUint16(8, true);
  return {
    ifindex: head.getInt32(4, true),
    family,
    address: renderIp(address),
    mac: renderMac(attributes.get(attribute.linkLayerAddress) ?? new Uint8Array()),
    states: stateBits.filter((_, bit) => (state & (1 << bit)) !== 0),
    isRouter: (head.getUint8(10) & routerFlag) !== 0,
  };
}
