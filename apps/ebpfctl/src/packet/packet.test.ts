import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { parseAddress, parseMac, renderAddress } from "./address.ts";
import { encodePacket, protocolNumber, tcpFlags, type PacketSpec } from "./packet.ts";
import { CaptureError, parsePcap } from "./pcap.ts";

const plain: PacketSpec = {
  sourceMac: Uint8Array.of(2, 0, 0, 0, 0, 1),
  destinationMac: Uint8Array.of(2, 0, 0, 0, 0, 2),
  vlans: [],
  from: { family: 4, bytes: Uint8Array.of(10, 10, 10, 7) },
  to: { family: 4, bytes: Uint8Array.of(10, 0, 0, 2) },
  protocol: "udp",
  sourcePort: 40000,
  destinationPort: 53,
  tcpFlags: ["syn"],
  hopLimit: 64,
  dscp: 0,
};

test("parseAddress accepts exactly what the platform calls an address", () => {
  const text = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.stringMatching(/^[0-9a-f:.]{0,20}$/),
    fc.constantFrom(
      "::",
      "::1",
      "1::",
      "::ffff:1.2.3.4",
      "1:2:3:4:5:6:7:8",
      "1:2:3:4:5:6:7::",
      "::2:3:4:5:6:7:8",
      ":::",
      "1::2::3",
      "01.2.3.4",
      "1.2.3",
      "fe80::1%eth0",
    ),
  );
  fc.assert(
    fc.property(text, (candidate) => {
      const isZoned = candidate.includes("%");
      assert.equal(parseAddress(candidate)?.family ?? 0, isZoned ? 0 : isIP(candidate), candidate);
    }),
    { numRuns: 2000 },
  );
});

test("renderAddress writes what parseAddress reads, in the shortest form", () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const address = parseAddress(text);
      assert.ok(address);
      assert.deepEqual(parseAddress(renderAddress(address)), address);
    }),
  );
  const shortest = (text: string) => renderAddress(parseAddress(text) ?? assert.fail(text));
  assert.equal(shortest("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");
  assert.equal(shortest("0:0:0:0:0:0:0:0"), "::");
  assert.equal(shortest("1:0:2:3:4:5:6:7"), "1:0:2:3:4:5:6:7");
});

test("parseMac reads colons and dashes and nothing else", () => {
  assert.deepEqual(parseMac("02:00:00:00:00:ff"), Uint8Array.of(2, 0, 0, 0, 0, 255));
  assert.deepEqual(parseMac("02-00-00-00-00-FF"), Uint8Array.of(2, 0, 0, 0, 0, 255));
  assert.equal(parseMac("02:00:00:00:00"), undefined);
  assert.equal(parseMac("02:00:00:00:00:0g"), undefined);
});

test("encodePacket writes a UDP datagram byte for byte", () => {
  const ethernet = "020000000002" + "020000000001" + "0800";
  const network = "4500001c0000000040115cbf0a0a0a070a000002";
  assert.equal(Buffer.from(encodePacket(plain)).toString("hex"), `${ethernet}${network}9c40003500084556`);
});

const anyPacket = fc
  .tuple(
    fc.boolean(),
    fc.array(fc.integer({ min: 0, max: 4094 }), { maxLength: 3 }),
    fc.constantFrom("tcp" as const, "udp" as const, "icmp" as const, "sctp" as const, 47),
    fc.integer({ min: 0, max: 65535 }),
    fc.integer({ min: 0, max: 65535 }),
    fc.integer({ min: 0, max: 1600 }),
    fc.uint8Array({ minLength: 32, maxLength: 32 }),
    fc.subarray([...tcpFlags]),
  )
  .map(([isSix, vlans, protocol, sourcePort, destinationPort, lengthBytes, address, flags]): PacketSpec => ({
    ...plain,
    vlans,
    protocol,
    sourcePort,
    destinationPort,
    lengthBytes,
    tcpFlags: flags,
    from: isSix ? { family: 6, bytes: address.slice(0, 16) } : { family: 4, bytes: address.slice(0, 4) },
    to: isSix ? { family: 6, bytes: address.slice(16) } : { family: 4, bytes: address.slice(4, 8) },
  }));

test("encodePacket writes lengths that fit and checksums that sum to zero", () => {
  fc.assert(
    fc.property(anyPacket, (spec) => {
      const frame = Buffer.from(encodePacket(spec));
      assert.ok(frame.length >= (spec.lengthBytes ?? 0));
      const network = frame.subarray(14 + 4 * spec.vlans.length);
      const isSix = spec.from.family === 6;
      assert.equal(network[0]! >> 4, spec.from.family);
      const transport = network.subarray(isSix ? 40 : 20);
      if (isSix) assert.equal(network.readUInt16BE(4), transport.length);
      else {
        assert.equal(network.readUInt16BE(2), network.length);
        assert.equal(onesSum(network.subarray(0, 20)), 0xffff);
      }
      const number = protocolNumber(spec.protocol, spec.from.family);
      assert.equal(network[isSix ? 6 : 9], number);
      if (spec.protocol !== "tcp" && spec.protocol !== "udp" && spec.protocol !== "icmp") return;
      const hasPseudoHeader = spec.protocol !== "icmp" || isSix;
      const pseudo = Buffer.concat([
        spec.from.bytes,
        spec.to.bytes,
        Buffer.from([0, 0, transport.length >> 8, transport.length & 255, 0, 0, 0, number]),
      ]);
      assert.equal(onesSum(hasPseudoHeader ? Buffer.concat([pseudo, transport]) : transport), 0xffff);
    }),
  );
});

function onesSum(bytes: Uint8Array): number {
  let sum = 0;
  bytes.forEach((byte, at) => {
    sum += at % 2 === 0 ? byte << 8 : byte;
    sum = (sum & 0xffff) + (sum >> 16);
  });
  return sum;
}

test("encodePacket tags the outer VLAN of two as a service tag", () => {
  const frame = Buffer.from(encodePacket({ ...plain, vlans: [100, 7] }));
  assert.equal(frame.subarray(12, 22).toString("hex"), "88a80064" + "81000007" + "0800");
});

test("encodePacket refuses addresses of two families", () => {
  assert.throws(() => encodePacket({ ...plain, to: { family: 6, bytes: new Uint8Array(16) } }), RangeError);
});

function capture(isLittle: boolean, isNano: boolean, link: number, packets: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.alloc(24 + packets.reduce((sum, packet) => sum + 16 + packet.length, 0));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint32(0, isNano ? 0xa1b23c4d : 0xa1b2c3d4, isLittle);
  view.setUint16(4, 2, isLittle);
  view.setUint16(6, 4, isLittle);
  view.setUint32(16, 65535, isLittle);
  view.setUint32(20, link, isLittle);
  let at = 24;
  for (const packet of packets) {
    view.setUint32(at, 1_700_000_000, isLittle);
    view.setUint32(at + 4, 250, isLittle);
    view.setUint32(at + 8, packet.length, isLittle);
    view.setUint32(at + 12, packet.length + 1, isLittle);
    bytes.set(packet, at + 16);
    at += 16 + packet.length;
  }
  return bytes;
}

test("parsePcap reads both byte orders and both clocks", () => {
  const frame = encodePacket(plain);
  for (const isLittle of [true, false]) {
    for (const isNano of [true, false]) {
      const read = parsePcap(capture(isLittle, isNano, 1, [frame, frame]));
      assert.equal(read.packets.length, 2);
      assert.deepEqual(Buffer.from(read.packets[1]!.frame), Buffer.from(frame));
      assert.equal(read.packets[0]!.atNs, 1_700_000_000_000_000_000n + (isNano ? 250n : 250_000n));
      assert.equal(read.packets[0]!.lengthOnWire, frame.length + 1);
    }
  }
});

test("parsePcap puts an Ethernet header before raw IP packets", () => {
  const frame = encodePacket({
    ...plain,
    from: { family: 6, bytes: new Uint8Array(16) },
    to: { family: 6, bytes: new Uint8Array(16) },
  });
  const [packet] = parsePcap(capture(true, false, 101, [frame.subarray(14)])).packets;
  assert.equal(
    Buffer.from(packet!.frame.subarray(12)).toString("hex"),
    Buffer.from(frame.subarray(12)).toString("hex"),
  );
});

test("parsePcap says what to do about files it does not read", () => {
  assert.throws(() => parsePcap(Uint8Array.of(0x0a, 0x0d, 0x0d, 0x0a)), /pcapng.*editcap/);
  assert.throws(() => parsePcap(new TextEncoder().encode("apiVersion: v1")), /no pcap file/);
  assert.throws(() => parsePcap(capture(true, false, 113, [])), /link type 113/);
});

test("parsePcap never throws anything but CaptureError, whatever the bytes", () => {
  const whole = capture(true, false, 1, [encodePacket(plain)]);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255))), fc.nat(whole.length), (changes, length) => {
      const bytes = whole.slice(0, length);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      try {
        parsePcap(bytes);
      } catch (error) {
        assert.ok(error instanceof CaptureError);
      }
    }),
  );
});
