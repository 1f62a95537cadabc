import assert from "node:assert/strict";
import { test } from "node:test";
import { readFlows } from "./flows.ts";
import {
  encodeFlow,
  encodeFlowKey,
  flow4KeySize,
  flowFlag,
  flowKeySize,
  flowSize,
  flowState,
} from "./generated/policy.ts";

const key = {
  ifindex: 12,
  localPort: 0x1538,
  remotePort: 0x9c40,
  protocol: 6,
  localLow: 0x0a02_0002,
  remoteLow: 0x0a01_0002,
  localHigh: [0xfd00_0001, 0, 0],
  remoteHigh: [0xfd00_0002, 0, 0],
};
const flow = { serial: 9n, seenTick: 0n, rule: 2, opened: 0, flags: 0, connection: 0 };
const second = 1_000_000_000n;

function entries(keySize: number, value: Partial<Parameters<typeof encodeFlow>[0]>) {
  const keys = new Uint8Array(flowKeySize);
  encodeFlowKey(key, new DataView(keys.buffer));
  const values = new Uint8Array(flowSize);
  encodeFlow({ ...flow, seenNs: 0n, state: flowState.answered, ...value }, new DataView(values.buffer));
  return { count: 1, keys: keys.slice(0, keySize), values };
}

test("readFlows reads both families, and says who opened a flow and what became of it", () => {
  const [four] = readFlows(entries(flow4KeySize, {}), 5n * second);
  assert.ok(four);
  assert.deepEqual([...four.local], [10, 2, 0, 2]);
  assert.deepEqual([...four.remote], [10, 1, 0, 2]);
  assert.deepEqual([four.localPort, four.remotePort, four.opened, four.state], [0x1538, 0x9c40, "ingress", "open"]);
  const [six] = readFlows(entries(flowKeySize, { opened: 1, flags: flowFlag.denied }), 5n * second);
  assert.deepEqual([...(six?.local ?? [])], [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 10, 2, 0, 2]);
  assert.deepEqual([six?.opened, six?.marks], ["egress", ["denied"]]);
  const [passing] = readFlows(entries(flow4KeySize, { opened: 1, flags: flowFlag.forwarded }), 5n * second);
  assert.deepEqual(passing?.marks, ["forwarded"]);
});

test("readFlows tells flows that have ended as the kernel does", () => {
  const ended = (state: number, idleSeconds: bigint): boolean | undefined =>
    readFlows(entries(flow4KeySize, { state }), idleSeconds * second)[0]?.hasEnded;
  assert.deepEqual([ended(flowState.answered, 7999n), ended(flowState.answered, 8000n)], [false, true]);
  assert.deepEqual([ended(flowState.opening, 59n), ended(flowState.closing, 60n)], [false, true]);
});
