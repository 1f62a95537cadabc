import assert from "node:assert/strict";
import { test } from "node:test";
import type { Address, Link, Route, RouteEvent } from "@bpfleet/netlink";
import { someLink } from "../testing/some-link.ts";
import { changedNames, InterfaceTable } from "./interface-table.ts";
import { findCgroup2, parseMounts } from "./mounts.ts";

const link = (ifindex: number, name: string, isUp = true): Link => ({ ...someLink, ifindex, name, isUp });
const address = (ifindex: number, text: string): Address => ({
  ifindex,
  family: 4,
  address: text,
  peer: undefined,
  prefixLength: 24,
  scope: "global",
  label: "",
  flags: 0,
});
const defaultVia = (...ifindexes: number[]): Route => ({
  family: 4,
  destination: "0.0.0.0",
  prefixLength: 0,
  isDefault: true,
  table: 254,
  type: "unicast",
  protocol: 3,
  scope: "global",
  metric: 0,
  preferredSource: undefined,
  hops: ifindexes.map((ifindex) => ({ ifindex, gateway: "10.0.0.2", weight: 1 })),
});
const there = (item: { table: "link"; link: Link } | { table: "address"; address: Address }): RouteEvent => ({
  ...item,
  change: "there",
});
const gone = (item: { table: "link"; link: Link } | { table: "address"; address: Address }): RouteEvent => ({
  ...item,
  change: "gone",
});

test("InterfaceTable follows interfaces and addresses that come, change and go", () => {
  const table = new InterfaceTable();
  table.reset([link(1, "lo")], [], []);
  table.apply(there({ table: "link", link: link(7, "eth0") }));
  table.apply(there({ table: "address", address: address(7, "10.0.0.9") }));
  table.apply(there({ table: "address", address: address(7, "10.0.0.1") }));
  table.apply(gone({ table: "address", address: address(7, "10.0.0.9") }));
  table.apply(there({ table: "link", link: link(7, "uplink", false) }));
  assert.deepEqual(
    table.list().map(({ name, isUp, addresses }) => ({ name, isUp, addresses })),
    [
      { name: "lo", isUp: true, addresses: [] },
      { name: "uplink", isUp: false, addresses: ["10.0.0.1/24"] },
    ],
  );
  table.apply(gone({ table: "link", link: link(7, "uplink") }));
  table.apply(there({ table: "link", link: link(8, "uplink") }));
  assert.deepEqual(table.list().at(-1)?.addresses, []);
});

test("InterfaceTable asks for the routes when a default route may have gone unsaid", () => {
  const table = new InterfaceTable();
  table.reset([link(1, "lo"), link(2, "a"), link(3, "b")], [address(2, "10.0.0.1")], [defaultVia(2, 3)]);
  assert.deepEqual(
    table.list().map((each) => each.hasDefaultRoute),
    [false, true, true],
  );
  assert.equal(table.apply(there({ table: "link", link: link(2, "a") })), "done");
  assert.equal(table.apply(there({ table: "link", link: link(2, "a", false) })), "routes");
  assert.equal(table.apply(gone({ table: "address", address: address(2, "10.0.0.1") })), "routes");
  assert.equal(table.apply(gone({ table: "link", link: link(1, "lo") })), "done");
  assert.equal(table.apply({ table: "route", route: { ...defaultVia(2), isDefault: false }, change: "there" }), "done");
  assert.equal(table.apply({ table: "route", route: defaultVia(2), change: "gone" }), "routes");
});

test("changedNames gives both names of a renamed interface, and one that was made anew under its name", () => {
  const list = (...links: Link[]) => {
    const table = new InterfaceTable();
    table.reset(links, [], []);
    return table.list();
  };
  assert.deepEqual(
    changedNames(list(link(1, "a"), link(2, "b")), list(link(1, "c"), link(2, "b"))),
    new Set(["c", "a"]),
  );
  assert.deepEqual(changedNames(list(link(1, "a")), list(link(5, "a"))), new Set(["a"]));
  assert.deepEqual(changedNames(list(link(1, "a")), list(link(1, "a"))), new Set());
});

test("parseMounts reads escaped paths and lets the last mount on a directory win", () => {
  const mounts = parseMounts(
    [
      "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0",
      "tmpfs /run/a\\040b tmpfs rw 0 0",
      "bpf /run/a\\040b bpf rw 0 0",
      "garbage",
      "",
    ].join("\n"),
  );
  assert.deepEqual(mounts, [
    { target: "/sys/fs/cgroup/unified", type: "cgroup2" },
    { target: "/run/a b", type: "bpf" },
  ]);
  assert.equal(findCgroup2(mounts), "/sys/fs/cgroup/unified");
  assert.equal(findCgroup2([]), undefined);
});

test("InterfaceTable tells once which interfaces an XDP program or a filter left", () => {
  const table = new InterfaceTable();
  const withXdp = (name: string, ...programIds: number[]): RouteEvent =>
    there({
      table: "link",
      link: { ...link(7, name), xdp: programIds.length > 0 ? { mode: "native", programIds } : undefined },
    });
  const filter = { ifindex: 7, handle: 2, parent: 0, priority: 50, protocol: 3, chain: 0, kind: "bpf", bpf: undefined };
  table.reset([link(1, "lo")], [], []);
  for (const event of [withXdp("eth0", 1), withXdp("eth0", 2)]) table.apply(event);
  table.apply({ table: "filter", filter, change: "there" });
  assert.deepEqual([...table.takeFreed()], []);
  table.apply(withXdp("eth0"));
  assert.deepEqual([...table.takeFreed()], ["eth0"]);
  table.apply({ table: "filter", filter, change: "gone" });
  assert.deepEqual([...table.takeFreed()], ["eth0"]);
  assert.deepEqual([...table.takeFreed()], []);
});
