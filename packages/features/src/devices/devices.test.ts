import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeFacts } from "@bpfleet/kernel/testing";
import { devices } from "./devices.ts";
import type { DevicesIntent } from "./intent.ts";

const facts = nodeFacts({ objects: { devices: { digest: "d" } }, cgroups: { "/pods/web": "77", "/pods/db": "78" } });
const origin = {
  object: { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "guard" },
  path: "",
};
const intent: DevicesIntent = {
  feature: "devices",
  origin,
  priority: 10,
  pods: [
    { pod: "web", namespace: "default", path: "/pods/web" },
    { pod: "db", namespace: "default", path: "/pods/db" },
  ],
  allowed: [
    { type: "char", major: 1, minor: 3, text: "/dev/null", origin },
    { type: "char", major: 136, minor: undefined, text: "/dev/pts/*", origin },
  ],
};

test("devices.plan gives every pod a program and counters of its own over one list", () => {
  const plan = devices.plan([intent], facts);
  assert.equal(plan.programs.length, 2);
  assert.deepEqual(
    new Set(plan.programs.map(({ maps }) => maps["allowed"])),
    new Set(["devices/default/guard/allowed"]),
  );
  assert.equal(plan.maps.filter(({ key }) => key.endsWith("/allowed")).length, 1);
  assert.equal(new Set(plan.programs.map(({ maps }) => maps["reasons"])).size, 2);
});

test("devices.plan writes type, major and minor as the program reads them, any minor as all ones", () => {
  const list = devices.plan([intent], facts).maps.find(({ key }) => key.endsWith("/allowed"));
  assert.ok(list?.contents.kind === "sealed");
  const { keys, values } = list.contents.entries;
  assert.deepEqual([...new Uint32Array(keys.slice().buffer)], [2, 1, 3, 2, 136, 0xffffffff]);
  assert.deepEqual([...new Uint32Array(values.slice().buffer)], [1, 2]);
});

test("devices.plan changes the list's generation when a device is added", () => {
  const digest = (wish: DevicesIntent): string => {
    const list = devices.plan([wish], facts).maps.find(({ key }) => key.endsWith("/allowed"));
    assert.ok(list?.contents.kind === "sealed");
    return list.contents.digest;
  };
  const more: DevicesIntent = {
    ...intent,
    allowed: [...intent.allowed, { type: "block", major: 8, minor: 0, text: "/dev/sda", origin }],
  };
  assert.notEqual(digest(intent), digest(more));
});
