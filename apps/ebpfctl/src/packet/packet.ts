import type { Address } from "./address.ts";

export interface PacketSpec {
  readonly sourceMac: Uint8Array;
  readonly destinationMac: Uint8Array;
  /** From the outermost; the outer one of several is a service tag (802.1ad). */
  readonly vlans: readonly number[];
  /** Both of one family. */
  readonly from: Address;
  readonly to: Address;
  readonly protocol: Protocol;
  /** Of TCP, UDP and SCTP. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly tcpFlags: readonly TcpFlag[];
  readonly hopLimit: number;
  readonly dscp: number;
  /** Of the whole frame; `undefined` is the shortest. Rounded up to the headers. */
  readonly lengthBytes?: number | undefined;
}

export type Protocol = "tcp" | "udp" | "sctp" | "icmp" | number;

export const tcpFlags = ["fin", "syn", "rst", "psh", "ack", "urg"] as const;
export type TcpFlag = (typeof tcpFlags)[number];

const ethernetIp4 = 0x0800;
const ethernetIp6 = 0x86dd;
const ethernetVlan = 0x8100;
const ethernetServiceVlan = 0x88a8;

/** An Ethernet frame without check sequence; all checksums inside are right. */
export function encodePacket(spec: PacketSpec): Uint8Array {
  if (spec.from.family !== spec.to.family) throw new RangeError("a packet has source and destination of one family");
  const linkBytes = 14 + 4 * spec.vlans.length;
  const networkBytes = spec.from.family === 4 ? 20 : 40;
  const shortest = linkBytes + networkBytes + transportHeaderBytes(spec.protocol);
  const frame = new Uint8Array(Math.max(spec.lengthBytes ?? 0, shortest));
  encodeLink(spec, new DataView(frame.buffer));
  const network = frame.subarray(linkBytes);
  const transport = frame.subarray(linkBytes + networkBytes);
  if (spec.from.family === 4) encodeFour(spec, network);
  else encodeSix(spec, network, transport.length);
  encodeTransport(spec, transport);
  return frame;
}

function encodeLink(spec: PacketSpec, view: DataView): void {
  spec.destinationMac.forEach((byte, at) => view.setUint8(at, byte));
  spec.sourceMac.forEach((byte, at) => view.setUint8(6 + at, byte));
  let at = 12;
  for (const [depth, vlan] of spec.vlans.entries()) {
    const isInner = depth === spec.vlans.length - 1;
    view.setUint16(at, isInner ? ethernetVlan : ethernetServiceVlan);
    view.setUint16(at + 2, vlan);
    at += 4;
  }
  view.setUint16(at, spec.from.family === 4 ? ethernetIp4 : ethernetIp6);
}

function encodeFour(spec: PacketSpec, bytes: Uint8Array): void {
  const view = viewOf(bytes);
  view.setUint8(0, 0x45);
  view.setUint8(1, spec.dscp << 2);
  view.setUint16(2, bytes.length);
  view.setUint8(8, spec.hopLimit);
  view.setUint8(9, protocolNumber(spec.protocol, 4));
  bytes.set(spec.from.bytes, 12);
  bytes.set(spec.to.bytes, 16);
  view.setUint16(10, checksum([bytes.subarray(0, 20)]));
}

function encodeSix(spec: PacketSpec, bytes: Uint8Array, payloadBytes: number): void {
  const view = viewOf(bytes);
  view.setUint32(0, ((6 << 28) | (spec.dscp << 22)) >>> 0);
  view.setUint16(4, payloadBytes);
  view.setUint8(6, protocolNumber(spec.protocol, 6));
  view.setUint8(7, spec.hopLimit);
  bytes.set(spec.from.bytes, 8);
  bytes.set(spec.to.bytes, 24);
}

function encodeTransport(spec: PacketSpec, bytes: Uint8Array): void {
  const view = viewOf(bytes);
  switch (spec.protocol) {
    case "tcp":
      encodePorts(spec, view);
      view.setUint8(12, 5 << 4);
      view.setUint8(
        13,
        spec.tcpFlags.reduce((bits, flag) => bits | (1 << tcpFlags.indexOf(flag)), 0),
      );
      view.setUint16(14, 0xffff);
      view.setUint16(16, checksum([pseudoHeader(spec, bytes.length), bytes]));
      return;
    case "udp":
      encodePorts(spec, view);
      view.setUint16(4, bytes.length);
      view.setUint16(6, checksum([pseudoHeader(spec, bytes.length), bytes]) || 0xffff);
      return;
    case "sctp":
      encodePorts(spec, view);
      view.setUint32(8, crc32c(bytes), true);
      return;
    case "icmp":
      view.setUint8(0, spec.from.family === 4 ? 8 : 128);
      view.setUint16(2, checksum(spec.from.family === 4 ? [bytes] : [pseudoHeader(spec, bytes.length), bytes]));
      return;
    default:
      return;
  }
}

function encodePorts(spec: PacketSpec, view: DataView): void {
  view.setUint16(0, spec.sourcePort);
  view.setUint16(2, spec.destinationPort);
}

function transportHeaderBytes(protocol: Protocol): number {
  if (protocol === "tcp") return 20;
  if (protocol === "sctp") return 12;
  return protocol === "udp" || protocol === "icmp" ? 8 : 0;
}

export function protocolNumber(protocol: Protocol, family: 4 | 6): number {
  if (typeof protocol === "number") return protocol;
  if (protocol === "icmp") return family === 4 ? 1 : 58;
  return { tcp: 6, udp: 17, sctp: 132 }[protocol];
}

function pseudoHeader(spec: PacketSpec, transportBytes: number): Uint8Array {
  const number = protocolNumber(spec.protocol, spec.from.family);
  const tail = new Uint8Array(8);
  viewOf(tail).setUint32(0, transportBytes);
  tail[7] = number;
  return Uint8Array.from([...spec.from.bytes, ...spec.to.bytes, ...tail]);
}

/** RFC 1071. Every part but the last must be of even length. */
function checksum(parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += 2) sum += ((part[at] ?? 0) << 8) | (part[at + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** RFC 9260, appendix A. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
