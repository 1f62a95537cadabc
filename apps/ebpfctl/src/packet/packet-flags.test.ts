import assert from "node:assert/strict";
import { test } from "node:test";
import type { InterfaceFacts } from "@bpfleet/kernel";
import { renderAddress } from "./address.ts";
import { packetOfFlags } from "./packet-flags.ts";

const eth0: InterfaceFacts = {
  name: "eth0",
  ifindex: 2,
  isUp: true,
  mtu: 1500,
  linkKind: "veth",
  mac: "02:00:00:00:00:09",
  addresses: ["fe80::1/64", "10.0.0.1/24"],
  hasDefaultRoute: false,
};

test("packetOfFlags fills in what a packet through the interface would have", () => {
  const arriving = packetOfFlags({ from: "10.10.10.7", vlan: [] }, "ingress", eth0);
  assert.equal(renderAddress(arriving.to), "10.0.0.1");
  assert.deepEqual([...arriving.destinationMac], [2, 0, 0, 0, 0, 9]);
  assert.equal(arriving.protocol, "icmp");
  const leaving = packetOfFlags({ to: "192.0.2.9", dport: "443", vlan: ["7"] }, "egress", eth0);
  assert.equal(renderAddress(leaving.from), "10.0.0.1");
  assert.deepEqual([...leaving.sourceMac], [2, 0, 0, 0, 0, 9]);
  assert.deepEqual(
    [leaving.protocol, leaving.destinationPort, leaving.tcpFlags, leaving.vlans],
    ["tcp", 443, ["syn"], [7]],
  );
  assert.equal(renderAddress(packetOfFlags({ from: "::1", vlan: [] }, "ingress", undefined).to), "2001:db8::1");
});

test("packetOfFlags names the flag that it cannot use", () => {
  const cases: [Parameters<typeof packetOfFlags>[0], RegExp][] = [
    [{ vlan: [] }, /needs --from or --to/],
    [{ from: "10.0.0.256", vlan: [] }, /"10\.0\.0\.256" for "--from"/],
    [{ from: "10.0.0.1", to: "::1", vlan: [] }, /two families/],
    [{ from: "10.0.0.1", proto: "quic", vlan: [] }, /"quic" for "--proto"/],
    [{ from: "10.0.0.1", dport: "65536", vlan: [] }, /"--dport": give a number from 0 to 65535/],
    [{ from: "10.0.0.1", vlan: ["4095"] }, /"--vlan"/],
    [{ from: "10.0.0.1", tcpFlags: "syn,nak", vlan: [] }, /"syn,nak" for "--tcp-flags"/],
    [{ from: "10.0.0.1", fromMac: "02:00", vlan: [] }, /"--from-mac"/],
  ];
  for (const [flags, message] of cases) assert.throws(() => packetOfFlags(flags, "ingress", eth0), message);
});
