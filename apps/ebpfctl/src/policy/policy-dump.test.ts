import assert from "node:assert/strict";
import { test } from "node:test";
import type { TableContents } from "@bpfleet/features";
import { makeDump, renderDump } from "./policy-dump.ts";

const pod = (name: string, ifindex: number) => ({ namespace: "shop", pod: name, interface: `v${ifindex}`, ifindex });
const data = { about: "node", serial: "9", endpoints: [pod("web", 7), pod("copy", 7), pod("db", 8)] } as const;
const state = { nodeName: "node-1", maps: {}, rules: [], names: {}, notes: [], data } as const;
const contents: TableContents = {
  serial: 9n,
  counterSlot: 1,
  endpoints: [7, 8].map((ifindex) => ({ ifindex, ingress: [1], egress: [] })),
  tables: [{ number: 1, rules: [{ rule: 0, verdict: "drop", keepsFlows: false }] }],
  addresses: [],
  unknownClass: { ipv4: 1, ipv6: 1 },
};

test("makeDump names all Pod objects that say they are in one network namespace, and finds it by each", () => {
  const dumped = (endpoint?: string, namespace?: string) =>
    makeDump(contents, state, [], { endpoint, namespace }).endpoints.map((each) => each.pod);
  const both = "shop/web and shop/copy";
  assert.deepEqual(dumped(), [both, "shop/db"]);
  for (const name of ["web", "copy", "shop/copy", "v7"]) assert.deepEqual(dumped(name), [both], name);
  assert.deepEqual([dumped("copy", "shop"), dumped("copy", "other"), dumped("op/web")], [[both], [], []]);
  const text = renderDump(makeDump(contents, state, [], { endpoint: "copy", namespace: undefined }), 0);
  assert.match(text, /^shop\/web and shop\/copy +v7 \(7\) +table 1 +any$/m);
  assert.match(text, /^Table 1: ingress of shop\/web and shop\/copy$/m);
});
