import { renderAddress } from "./address.ts";

export interface PacketSummary {
  readonly vlans: readonly number[];
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly protocol?: string | undefined;
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
}

const protocols: Readonly<Record<number, string>> = {
  1: "icmp",
  2: "igmp",
  6: "tcp",
  17: "udp",
  47: "gre",
  50: "esp",
  58: "icmpv6",
  89: "ospf",
  132: "sctp",
};
const withPorts = new Set([6, 17, 132, 136]);
/** Hop-by-hop, routing, fragment, destination options. */
const extensions = new Set([0, 43, 44, 60]);
const etherTypes: Readonly<Record<number, string>> = {
  0x0806: "arp",
  0x8847: "mpls",
  0x8863: "pppoe",
  0x8864: "pppoe",
  0x88cc: "lldp",
};

/** What the first bytes of a packet tell; whatever is cut off or broken is left out. */
export function summarizePacket(bytes: Uint8Array, layer: "ethernet" | "network"): PacketSummary {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (layer === "network") return { vlans: [], ...network(view, 0) };
  const vlans: number[] = [];
  let at = 12;
  while (at + 4 <= view.byteLength && isVlan(view.getUint16(at))) {
    vlans.push(view.getUint16(at + 2) & 0xfff);
    at += 4;
  }
  if (at + 2 > view.byteLength) return { vlans };
  const type = view.getUint16(at);
  if (type === 0x0800 || type === 0x86dd) return { vlans, ...network(view, at + 2) };
  return { vlans, protocol: etherTypes[type] ?? `ethertype 0x${type.toString(16).padStart(4, "0")}` };
}

/** `10.10.10.7:40000 (pod shop/web) > 10.0.0.2:53 udp` */
export function renderSummary(
  { vlans, from, to, protocol, sourcePort, destinationPort }: PacketSummary,
  names: Readonly<Record<string, string>> = {},
): string {
  const end = (address: string | undefined, port: number | undefined) => {
    if (address === undefined) return "?";
    const name = names[address] === undefined ? "" : ` (${names[address]})`;
    if (port === undefined) return `${address}${name}`;
    return `${address.includes(":") ? `[${address}]` : address}:${port}${name}`;
  };
  const ends = from === undefined && to === undefined ? "" : `${end(from, sourcePort)} > ${end(to, destinationPort)} `;
  const tags = vlans.map((vlan) => ` vlan ${vlan}`).join("");
  return `${ends}${protocol ?? "malformed"}${tags}`;
}

function isVlan(type: number): boolean {
  return type === 0x8100 || type === 0x88a8 || type === 0x9100;
}

function network(view: DataView, at: number): Omit<PacketSummary, "vlans"> {
  const version = at < view.byteLength ? view.getUint8(at) >> 4 : 0;
  if (version === 4) return four(view, at);
  return version === 6 ? six(view, at) : {};
}

function four(view: DataView, at: number): Omit<PacketSummary, "vlans"> {
  if (at + 20 > view.byteLength) return {};
  const number = view.getUint8(at + 9);
  const isFirst = (view.getUint16(at + 6) & 0x1fff) === 0;
  const payload = at + (view.getUint8(at) & 0xf) * 4;
  return {
    from: address(view, at + 12, 4),
    to: address(view, at + 16, 4),
    ...transport(view, payload, number, isFirst),
  };
}

function six(view: DataView, at: number): Omit<PacketSummary, "vlans"> {
  if (at + 40 > view.byteLength) return {};
  let number = view.getUint8(at + 6);
  let payload = at + 40;
  let isFirst = true;
  while (extensions.has(number) && payload + 8 <= view.byteLength) {
    if (number === 44) isFirst &&= view.getUint16(payload + 2) >> 3 === 0;
    const length = number === 44 ? 8 : (view.getUint8(payload + 1) + 1) * 8;
    number = view.getUint8(payload);
    payload += length;
  }
  return {
    from: address(view, at + 8, 16),
    to: address(view, at + 24, 16),
    ...transport(view, payload, number, isFirst),
  };
}

function transport(view: DataView, at: number, number: number, isFirst: boolean): Omit<PacketSummary, "vlans"> {
  const protocol = `${protocols[number] ?? `protocol ${number}`}${isFirst ? "" : " fragment"}`;
  if (!isFirst || !withPorts.has(number) || at + 4 > view.byteLength) return { protocol };
  return { protocol, sourcePort: view.getUint16(at), destinationPort: view.getUint16(at + 2) };
}

function address(view: DataView, at: number, length: 4 | 16): string {
  return renderAddress({
    family: length === 4 ? 4 : 6,
    bytes: new Uint8Array(view.buffer, view.byteOffset + at, length),
  });
}
