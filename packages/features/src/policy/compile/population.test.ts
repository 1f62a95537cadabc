import assert from "node:assert/strict";
import { test } from "node:test";
import { interfaceFacts } from "@bpfleet/kernel/testing";
import type { AddressesIntent, HostIntent, WorkloadIntent } from "../intent.ts";
import { label } from "../testing/written-policy.ts";
import { parseAddressKey } from "./address-key.ts";
import { AskedKeys } from "./label-index.ts";
import { findPopulation, type Inhabitants } from "./population.ts";

const object = { group: "", kind: "Pod", namespace: "x", name: "p" };
const common = { feature: "policy", origin: { object, path: "" }, namespaceLabels: {}, serviceAccount: "" } as const;

function pod(app: string, ...addresses: readonly string[]): WorkloadIntent {
  const own = { pod: object, labels: { app }, namedPorts: [], addresses, isHostNetwork: false, endpoint: app } as const;
  return { ...common, about: "workload", ...own };
}

function slice(app: string, version: string, ...addresses: readonly string[]): AddressesIntent {
  return { ...common, about: "addresses", namespace: "x", labels: { app }, namedPorts: [], addresses, version };
}

function node(name: string, isThisNode: boolean, ...addresses: readonly string[]): HostIntent {
  return { feature: "policy", about: "host", origin: common.origin, name, labels: { name }, addresses, isThisNode };
}

const facts = {
  nodeName: "here",
  interfaces: [interfaceFacts("eth0", { addresses: ["172.16.0.1/24", "fe80::1/64", "169.254.20.10/32"] })],
  endpoints: {
    a: { found: true, interface: "v", ifindex: 4, addresses: ["fd00::a/64", "fe80::2/64"], mac: "" },
  },
} as const;

/** What the address is known as: `a`, `this-node`, `a+b` for several. */
function known(inhabitants: Partial<Inhabitants>, address: string): string {
  const asked = new AskedKeys();
  asked.ask([label("app", "a", "b", "c")]);
  const whole = { workloads: [], addresses: [], hosts: [], ...inhabitants };
  const { addresses, holders, pods, podHolders } = findPopulation(whole, facts, asked, new Set());
  const holder = addresses.get(parseAddressKey(address) ?? "");
  const nameOf = (at: number): string =>
    ["a", "b", "c"].find((app) => pods.select([label("app", app)]).some((number) => podHolders[number] === at)) ??
    holders[at]?.is ??
    "nobody";
  if (holder === undefined) return "nobody";
  return holders[holder]?.is === "several" ? holders[holder].claimants.map(nameOf).join("+") : nameOf(holder);
}

test("findPopulation believes pods before slices, and of slices the newest", () => {
  const addresses = [slice("b", "9", "10.0.0.1", "10.0.0.2"), slice("c", "10", "10.0.0.1", "10.0.0.2")];
  const inhabitants = { workloads: [pod("a", "10.0.0.1")], addresses };
  assert.equal(known(inhabitants, "10.0.0.1"), "a");
  assert.equal(known(inhabitants, "10.0.0.2"), "c");
  assert.equal(known({ addresses: addresses.toReversed() }, "10.0.0.2"), "c");
  assert.equal(known({ addresses: [slice("b", "", "10.0.0.2"), slice("c", "1", "10.0.0.2")] }, "10.0.0.2"), "c");
});

test("findPopulation knows addresses that several claim as those of all of them", () => {
  const twice = { workloads: [pod("a", "10.0.0.1"), pod("b", "10.0.0.1")] };
  assert.equal(known(twice, "10.0.0.1"), "a+b");
  assert.equal(known({ addresses: [slice("b", "1", "10.0.0.2"), slice("c", "1", "10.0.0.2")] }, "10.0.0.2"), "b+c");
  assert.equal(known({ ...twice, hosts: [node("there", false, "10.0.0.1")] }, "10.0.0.1"), "a+b+node");
});

test("findPopulation adds what the facts say, and no address that is of one link only", () => {
  const inhabitants = { workloads: [pod("a", "10.0.0.1", "127.0.0.1")] };
  assert.equal(known(inhabitants, "fd00::a"), "a");
  for (const address of ["fe80::2", "fe80::1", "127.0.0.1", "203.0.113.1"])
    assert.equal(known(inhabitants, address), "nobody", address);
  for (const address of ["172.16.0.1", "169.254.20.10"])
    assert.equal(known(inhabitants, address), "this-node", address);
});

test("findPopulation knows nodes of one name as one, and this node without being told", () => {
  const hosts = [
    node("here", false, "172.16.0.9"),
    node("there", false, "172.16.0.2"),
    node("there", false, "172.16.0.3"),
  ];
  assert.equal(known({ hosts }, "172.16.0.9"), "this-node");
  assert.equal(known({ hosts }, "172.16.0.1"), "this-node");
  assert.equal(known({ hosts }, "172.16.0.3"), "node");
  assert.equal(known({ hosts: [...hosts, node("here", true, "172.16.0.8")] }, "172.16.0.9"), "this-node");
});
