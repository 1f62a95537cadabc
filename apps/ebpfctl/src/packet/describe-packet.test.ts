import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseAddress, type Address } from "./address.ts";
import { renderSummary, summarizePacket } from "./describe-packet.ts";
import { encodePacket, type PacketSpec } from "./packet.ts";

const address = (text: string): Address => parseAddress(text) ?? assert.fail(text);
const base: PacketSpec = {
  sourceMac: new Uint8Array(6),
  destinationMac: new Uint8Array(6),
  vlans: [],
  from: address("10.10.10.7"),
  to: address("10.0.0.2"),
  protocol: "udp",
  sourcePort: 40000,
  destinationPort: 53,
  tcpFlags: [],
  hopLimit: 64,
  dscp: 0,
};
const told = (spec: PacketSpec) => renderSummary(summarizePacket(encodePacket(spec), "ethernet"));

test("summarizePacket tells ends, ports, protocol and tags of what encodePacket writes", () => {
  assert.equal(told(base), "10.10.10.7:40000 > 10.0.0.2:53 udp");
  assert.equal(told({ ...base, vlans: [9, 7], protocol: "icmp" }), "10.10.10.7 > 10.0.0.2 icmp vlan 9 vlan 7");
  assert.equal(
    told({ ...base, from: address("2001:db8::1"), to: address("::2"), protocol: "tcp" }),
    "[2001:db8::1]:40000 > [::2]:53 tcp",
  );
  assert.equal(told({ ...base, protocol: 47 }), "10.10.10.7 > 10.0.0.2 gre");
  assert.equal(
    renderSummary(summarizePacket(encodePacket(base).subarray(14), "network")),
    "10.10.10.7:40000 > 10.0.0.2:53 udp",
  );
});

test("summarizePacket names fragments, extension headers and other frames", () => {
  const fragment = encodePacket(base);
  fragment[14 + 7] = 1;
  assert.equal(renderSummary(summarizePacket(fragment, "ethernet")), "10.10.10.7 > 10.0.0.2 udp fragment");
  const six = encodePacket({ ...base, from: address("::1"), to: address("::2"), protocol: "udp", lengthBytes: 80 });
  const extended = new Uint8Array([...six.subarray(0, 54), 17, 0, 1, 4, 0, 0, 0, 0, ...six.subarray(54)]);
  extended[14 + 6] = 60;
  assert.equal(renderSummary(summarizePacket(extended, "ethernet")), "[::1]:40000 > [::2]:53 udp");
  const arp = new Uint8Array(42);
  arp.set([0x08, 0x06], 12);
  assert.equal(renderSummary(summarizePacket(arp, "ethernet")), "arp");
  assert.equal(renderSummary(summarizePacket(new Uint8Array(5), "ethernet")), "malformed");
});

test("summarizePacket takes any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 96 }), fc.boolean(), (bytes, isVersioned) => {
      if (isVersioned && bytes.length > 14) bytes.set([0x86, 0xdd, 0x60], 12);
      renderSummary(summarizePacket(bytes, "ethernet"));
      renderSummary(summarizePacket(bytes, "network"));
    }),
    { numRuns: 2000 },
  );
});
