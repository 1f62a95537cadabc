import assert from "node:assert/strict";
import { test } from "node:test";
import type { ItemResult } from "@bpfleet/kernel";
import { findHooks as find, type FoundHooks, type HookWish } from "./find-hooks.ts";

const hooks = (...keys: readonly string[]): readonly ItemResult[] => [
  { item: "map", key: "m", state: "in-force" },
  ...keys.map((key): ItemResult => ({ item: "hook", key, state: "in-force" })),
];
const findHooks = (items: readonly ItemResult[], wish: HookWish): FoundHooks =>
  find(items, wish, ["eth0", "eth1", "lo"]);
const ingress = { interface: undefined, direction: "ingress", hook: undefined } as const;

test("findHooks gives the hooks in the order in which a packet meets them", () => {
  const items = hooks("tc-ingress/eth0", "tc-egress/eth0", "xdp/eth0", "xdp/eth1");
  assert.deepEqual(findHooks(items, { ...ingress, interface: "eth0" }).hooks, ["xdp/eth0", "tc-ingress/eth0"]);
  assert.deepEqual(findHooks(items, { ...ingress, interface: "eth0", direction: "egress" }).hooks, ["tc-egress/eth0"]);
  assert.deepEqual(findHooks(items, { ...ingress, hook: "xdp/eth1" }), { hooks: ["xdp/eth1"], interface: "eth1" });
});

test("findHooks takes the only interface when none is named, and asks when there are several", () => {
  assert.equal(findHooks(hooks("xdp/eth0"), ingress).interface, "eth0");
  assert.throws(
    () => findHooks(hooks("xdp/eth0", "xdp/eth1"), ingress),
    /say where with --interface or --hook; there is xdp\/eth0, xdp\/eth1/,
  );
  assert.throws(() => findHooks(hooks(), ingress), /no object attaches a program/);
});

test("findHooks takes a cgroup hook with or without its program", () => {
  const items = hooks("cgroup-egress//pods/web#filter/a/b");
  assert.deepEqual(findHooks(items, { ...ingress, hook: "cgroup-egress//pods/web" }), {
    hooks: ["cgroup-egress//pods/web"],
    interface: undefined,
  });
  assert.throws(
    () => findHooks(items, { ...ingress, hook: "xdp/eth0" }),
    /nothing of ours is there; there is cgroup-egress\/\/pods\/web/,
  );
});

test("findHooks tells an interface where nothing is attached from one that the node does not have", () => {
  const at = (name: string) => () => findHooks(hooks("xdp/eth0"), { ...ingress, interface: name, direction: "egress" });
  assert.throws(at("lo"), /at lo, egress: nothing of ours is there, so it passes; there is xdp\/eth0/);
  assert.throws(at("nosuch"), /at nosuch: this node has no such interface; there is xdp\/eth0/);
});
