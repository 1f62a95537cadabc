export interface Capture {
  readonly packets: readonly CapturedPacket[];
}

export interface CapturedPacket {
  /** Nanoseconds since the epoch. */
  readonly atNs: bigint;
  /** Ethernet frame, as far as it was captured. */
  readonly frame: Uint8Array;
  readonly lengthOnWire: number;
}

/** What keeps a file from being read as a capture; the message says what helps. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
}

const linkEthernet = 1;
/** Frames begin at the IP header: the BSDs' and Linux' numbers. */
const linkRaw = [12, 14, 101];
const largestPacketBytes = 262_144;

/** Reads a classic capture file: both byte orders, micro- and nanoseconds. Throws CaptureError. */
export function parsePcap(bytes: Uint8Array): Capture {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4)
    throw new CaptureError("read capture: it is shorter than a file header; give a file written by tcpdump -w");
  const { isLittle, isNano } = parseMagic(view.getUint32(0));
  if (bytes.length < 24) throw new CaptureError("read capture: it is cut short in the file header; record it again");
  const link = view.getUint32(20, isLittle) & 0x0fffffff;
  if (link !== linkEthernet && !linkRaw.includes(link)) {
    throw new CaptureError(
      `read capture: link type ${link} is neither Ethernet nor raw IP; record on one interface (tcpdump -i eth0), not on any`,
    );
  }
  const packets: CapturedPacket[] = [];
  let at = 24;
  while (at < bytes.length) {
    if (at + 16 > bytes.length)
      throw new CaptureError(`read capture: cut short in the header of packet ${packets.length + 1}; record it again`);
    const captured = view.getUint32(at + 8, isLittle);
    if (captured > largestPacketBytes || at + 16 + captured > bytes.length) {
      throw new CaptureError(
        `read capture: packet ${packets.length + 1} claims ${captured} bytes, more than the file holds; record it again`,
      );
    }
    const fraction = BigInt(view.getUint32(at + 4, isLittle));
    const data = bytes.subarray(at + 16, at + 16 + captured);
    packets.push({
      atNs: BigInt(view.getUint32(at, isLittle)) * 1_000_000_000n + (isNano ? fraction : fraction * 1000n),
      frame: link === linkEthernet ? data : withEthernet(data),
      lengthOnWire: view.getUint32(at + 12, isLittle),
    });
    at += 16 + captured;
  }
  return { packets };
}

function parseMagic(magic: number): { isLittle: boolean; isNano: boolean } {
  switch (magic) {
    case 0xa1b2c3d4:
      return { isLittle: false, isNano: false };
    case 0xd4c3b2a1:
      return { isLittle: true, isNano: false };
    case 0xa1b23c4d:
      return { isLittle: false, isNano: true };
    case 0x4d3cb2a1:
      return { isLittle: true, isNano: true };
    case 0x0a0d0d0a:
      throw new CaptureError(
        "read capture: it is a pcapng file; convert it with `editcap -F pcap IN OUT` or `tcpdump -r IN -w OUT`",
      );
    default:
      throw new CaptureError("read capture: it is no pcap file; give a file written by tcpdump -w");
  }
}

function withEthernet(packet: Uint8Array): Uint8Array {
  const frame = new Uint8Array(14 + packet.length);
  const isSix = (packet[0] ?? 0) >> 4 === 6;
  frame.set(isSix ? [0x86, 0xdd] : [0x08, 0x00], 12);
  frame.set(packet, 14);
  return frame;
}
