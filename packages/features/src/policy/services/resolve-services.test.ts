import assert from "node:assert/strict";
import { test } from "node:test";
import type { Backend, BackendsIntent, HostIntent, ServiceIntent } from "../intent.ts";
import { resolveServices } from "./resolve-services.ts";
import { placeWords, type Places } from "./service-table.ts";
import { writeServices } from "./write-services.ts";
import { policyLayout } from "../generated/policy.ts";

const origin = { object: { group: "", kind: "Service", namespace: "shop", name: "web" }, path: "" };
const common = { feature: "policy", isFact: true, origin } as const;

const service: ServiceIntent = {
  ...common,
  about: "service",
  namespace: "shop",
  name: "web",
  labels: {},
  clusterAddresses: ["10.96.0.7", "fd96::7"],
  externalAddresses: [],
  closedAddresses: [],
  ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: undefined }],
  affinitySeconds: undefined,
  isLocalOnly: false,
};

function backend(address: string, more: Partial<Backend> = {}): Backend {
  return { addresses: [address], isReady: true, isServing: true, node: "n1", forZones: [], forNodes: [], ...more };
}

function slice(...backends: readonly Backend[]): BackendsIntent {
  const ports = [{ name: "http", protocol: "TCP", port: 8080 }] as const;
  return { ...common, about: "backends", namespace: "shop", service: "web", ports, backends };
}

const host: HostIntent = {
  ...common,
  about: "host",
  name: "n1",
  labels: { "topology.kubernetes.io/zone": "a" },
  addresses: [],
  isThisNode: true,
};

const facts = {
  nodeName: "n1",
  interfaces: [{ name: "eth0", ifindex: 2, addresses: ["192.0.2.1/24", "fe80::1/64"] }],
} as unknown as Parameters<typeof resolveServices>[1];

/** `10.96.0.7:80 → 10.0.0.1:8080`, of IPv4. */
function resolved(services: readonly ServiceIntent[], backends: readonly BackendsIntent[]): readonly string[] {
  const text = (places: Places): string =>
    Array.from({ length: places.length / placeWords }, (_, at) => {
      const [, , , address = 0, port = 0] = places.subarray(at * placeWords);
      return `${[24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".")}:${port}`;
    }).join(" ");
  return resolveServices({ services, backends, hosts: [host] }, facts)
    .ports.filter(({ places }) => places[2] === 0xffff)
    .map(({ places, backends: behind }) => `${text(places)} → ${text(behind)}`);
}

test("resolveServices gives clients the ready back ends, and those that serve still where there is no ready one", () => {
  const ending = backend("10.0.0.2", { isReady: false });
  const gone = backend("10.0.0.3", { isReady: false, isServing: false });
  assert.deepEqual(resolved([service], [slice(ending, gone, backend("10.0.0.1"))]), ["10.96.0.7:80 → 10.0.0.1:8080"]);
  assert.deepEqual(resolved([service], [slice(ending, gone)]), ["10.96.0.7:80 → 10.0.0.2:8080"]);
  assert.deepEqual(resolved([service], [slice(gone)]), ["10.96.0.7:80 → "]);
  assert.deepEqual(resolved([service], []), ["10.96.0.7:80 → "], "known without back ends");
});

test("resolveServices gives those of this node where the Service says so, and those that are hinted at", () => {
  const near = backend("10.0.0.1", { forZones: ["a"], forNodes: ["n1"] });
  const inZone = backend("10.0.0.2", { node: "n2", forZones: ["a"], forNodes: ["n2"] });
  const far = backend("10.0.0.3", { node: "n3", forZones: ["b"] });
  const all = "10.96.0.7:80 → 10.0.0.1:8080 10.0.0.2:8080";
  assert.deepEqual(resolved([{ ...service, isLocalOnly: true }], [slice(near, inZone, far)]), [
    "10.96.0.7:80 → 10.0.0.1:8080",
  ]);
  assert.deepEqual(resolved([service], [slice(near, inZone, far)]), [all], "of the zone, where one is not for a node");
  assert.deepEqual(resolved([service], [slice(near, inZone)]), ["10.96.0.7:80 → 10.0.0.1:8080"], "of the node");
  const unhinted = backend("10.0.0.3", { node: "n3" });
  assert.deepEqual(resolved([service], [slice(near, inZone, unhinted)]), [`${all} 10.0.0.3:8080`]);
  const elsewhere = [backend("10.0.0.2", { forZones: ["b"] }), backend("10.0.0.3", { forZones: ["b"] })];
  assert.deepEqual(resolved([service], [slice(...elsewhere)]), ["10.96.0.7:80 → 10.0.0.2:8080 10.0.0.3:8080"]);
});

test("resolveServices knows node ports, external addresses and those that are closed to others", () => {
  const web = {
    ...service,
    externalAddresses: ["203.0.113.1"],
    closedAddresses: ["203.0.113.2"],
    ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: 30080 }],
    isLocalOnly: true,
  } as const;
  const other = backend("10.0.0.2", { node: "n2" });
  assert.deepEqual(resolved([web], [slice(backend("10.0.0.1"), other)]), [
    "10.96.0.7:80 → 10.0.0.1:8080",
    "192.0.2.1:30080 203.0.113.1:80 → 10.0.0.1:8080 10.0.0.2:8080",
    "203.0.113.2:80 → ",
  ]);
});

test("resolveServices leaves out what is no port of a slice, and gives an address to the first of two Services", () => {
  const other = { ...service, name: "xeb" };
  const named = { ...service, ports: [{ name: "admin", protocol: "TCP", port: 81, nodePort: undefined }] } as const;
  assert.deepEqual(resolved([other, service], [slice(backend("10.0.0.1"))]), ["10.96.0.7:80 → 10.0.0.1:8080"]);
  assert.deepEqual(resolved([named], [slice(backend("10.0.0.1"))]), ["10.96.0.7:81 → "]);
});

test("writeServices finds places for ten thousand Services, and says what they are told apart by", () => {
  const services = Array.from({ length: 10_000 }, (_, at) => ({
    ...service,
    name: `s${at}`,
    clusterAddresses: [`10.96.${at >> 8}.${at & 255}`],
  }));
  const backends = services.map(({ name }, at) => ({
    ...slice(backend(`10.1.${at >> 8}.${at & 255}`), backend(`10.2.${at >> 8}.${at & 255}`)),
    service: name,
  }));
  const table = resolveServices({ services, backends, hosts: [] }, facts);
  assert.equal(table.ports.length, 10_000);
  const { lines, lineCount } = writeServices(table);
  assert.equal(lines.length, lineCount * policyLayout.line_bytes);
  assert.ok(lineCount < 50_000, `${lineCount}`);
  const again = resolveServices({ services: services.toReversed(), backends, hosts: [] }, facts);
  assert.equal(again.serial, table.serial, "in whatever order they are told");
  const fewer = resolveServices({ services, backends: backends.slice(1), hosts: [] }, facts);
  assert.notEqual(fewer.serial, table.serial);
});
