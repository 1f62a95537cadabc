import assert from "node:assert/strict";
import { test } from "node:test";
import type { PolicyFlow } from "@bpfleet/features";
import { listFlows, renderFlows } from "./flow-list.ts";

const node = { isNode: true, namespace: "", pod: "node-1", interface: "", ifindex: 0x7fff_ffff } as const;
const data = { about: "node", endpoints: [node], serial: "9" } as const;
const state = { nodeName: "node-1", maps: {}, rules: [], names: {}, notes: [], data } as const;
const own: PolicyFlow = {
  ifindex: node.ifindex,
  local: Uint8Array.of(192, 0, 2, 1),
  remote: Uint8Array.of(203, 0, 113, 9),
  localPort: 40_000,
  remotePort: 443,
  protocol: 6,
  opened: "egress",
  state: "open",
  marks: [],
  serial: 9n,
  rule: 0,
  seenNs: 0n,
  hasEnded: false,
};
const wish = { namespace: undefined, address: undefined, port: undefined, protocol: undefined, withEnded: false };

test("listFlows tells the node's own connections from those that it forwards, and finds both by its name", () => {
  const forwarded: PolicyFlow = { ...own, localPort: 40_001, serial: 0n, marks: ["forwarded"] };
  const listed = listFlows([own, forwarded], state, 0n, { ...wish, pod: "node-1" });
  assert.equal(
    renderFlows(listed, false, false).replaceAll(/ +/g, " "),
    "node node-1 egress tcp 192.0.2.1:40000 203.0.113.9:443 open 0s <default>\n" +
      "node node-1 egress tcp 192.0.2.1:40001 203.0.113.9:443 open 0s <forwarded>\n",
  );
  assert.deepEqual(listFlows([own], state, 0n, { ...wish, pod: "other" }), []);
});
