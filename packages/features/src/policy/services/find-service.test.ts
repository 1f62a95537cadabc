import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeFacts } from "@bpfleet/kernel";
import { renderAddress } from "../../filter/address.ts";
import { bytesOfKey, parseAddressKey } from "../compile/address-key.ts";
import type { BackendsIntent, ServiceIntent } from "../intent.ts";
import { findService } from "./find-service.ts";

const origin = { object: { group: "", kind: "Service", namespace: "shop", name: "web" }, path: "" };
const common = { feature: "policy", isFact: true, origin } as const;
const ports = [
  { name: "http", protocol: "TCP", port: 80, nodePort: 30_080 },
  { name: "dns", protocol: "UDP", port: 53, nodePort: undefined },
] as const;
const service = (name: string, ...clusterAddresses: readonly string[]): ServiceIntent => ({
  ...common,
  about: "service",
  namespace: "shop",
  name,
  labels: {},
  clusterAddresses,
  externalAddresses: [],
  closedAddresses: [],
  ports,
  affinitySeconds: undefined,
  isLocalOnly: false,
});
const slice = (of: string, address: string): BackendsIntent => ({
  ...common,
  about: "backends",
  namespace: "shop",
  service: of,
  ports: [
    { name: "http", protocol: "TCP", port: 8080 },
    { name: "dns", protocol: "UDP", port: 5353 },
  ],
  backends: [{ addresses: [address], isReady: true, isServing: true, node: "n", forZones: [], forNodes: [] }],
});
const facts = { nodeName: "n", interfaces: [{ addresses: ["192.0.2.1/24"] }] } as unknown as NodeFacts;
const intents = [
  service("api", "10.96.0.8"),
  service("web", "10.96.0.7", "fd96::7"),
  slice("web", "10.0.0.1"),
  slice("web", "fd00::1"),
  slice("api", "10.0.0.2"),
];

function found(to: string, protocol: number, port: number): string {
  const key = parseAddressKey(to);
  assert.ok(key !== undefined);
  const opening = { source: new Uint8Array(4), destination: bytesOfKey(key), protocol, port };
  const service = findService(intents, facts, opening);
  if (service === undefined) return "none";
  return `${service.name} ${service.backends.map((each) => `${renderAddress(each.address)} ${each.port}`).join()}`;
}

test("findService finds the Service by address, protocol and port, of both families, and by a node's own port", () => {
  assert.equal(found("10.96.0.7", 6, 80), "shop/web 10.0.0.1 8080");
  assert.equal(found("10.96.0.7", 17, 53), "shop/web 10.0.0.1 5353");
  assert.equal(found("fd96::7", 6, 80), "shop/web fd00::1 8080");
  assert.equal(found("10.96.0.8", 6, 80), "shop/api 10.0.0.2 8080");
  assert.equal(found("192.0.2.1", 6, 30_080), "shop/api 10.0.0.2 8080", "which the first of both has");
});

test("findService finds none where no Service has the address, the protocol or the port", () => {
  for (const [to, protocol, port] of [
    ["10.96.0.9", 6, 80],
    ["10.96.0.7", 17, 80],
    ["10.96.0.7", 6, 81],
    ["10.96.0.7", 6, 30_080],
    ["10.0.0.1", 6, 80],
  ] as const)
    assert.equal(found(to, protocol, port), "none", `${to} ${protocol} ${port}`);
});
