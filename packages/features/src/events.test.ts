import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeEvent, encodeSampling, instanceIdOf } from "./events.ts";
import { decodeTraceSwitch, encodeEvent, eventLayer, eventSize, verdict } from "./generated/shared.ts";

test("decodeEvent gives back what a program reported, its head cut to what was captured", () => {
  const record = new Uint8Array(eventSize);
  const decision = {
    verdict: verdict.drop,
    reason: 3,
    rule: 2,
    flags: 1,
    address: Uint8Array.from({ length: 16 }, (_, at) => at),
  };
  const head = Uint8Array.from({ length: 128 }, (_, at) => at);
  encodeEvent(
    { timeNs: 5n, instance: 9n, ifindex: 4, length: 1500, headLength: 20, layer: eventLayer.network, decision, head },
    new DataView(record.buffer),
  );
  const event = decodeEvent(record);
  assert.deepEqual(
    { ...event, scratch: undefined },
    {
      timeNs: 5n,
      instanceId: 9n,
      ifindex: 4,
      lengthBytes: 1500,
      layer: "network",
      head: head.slice(0, 20),
      verdict: "drop",
      opensFlow: false,
      scratch: undefined,
    },
  );
  assert.deepEqual([...(event?.scratch ?? [])].slice(0, 12), [1, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0]);
});

test("decodeEvent takes nothing that is shorter than an event", () => {
  for (const size of [0, 1, eventSize - 1]) assert.equal(decodeEvent(new Uint8Array(size)), undefined);
});

test("encodeSampling writes the switch that the programs read", () => {
  const read = (bytes: Uint8Array): unknown => decodeTraceSwitch(new DataView(bytes.buffer));
  assert.deepEqual(read(encodeSampling({ every: 0, only: "all" })), { every: 0, samples: 0, instance: 0n });
  const instanceId = instanceIdOf("filter/default/a");
  assert.deepEqual(read(encodeSampling({ every: 10, only: "drop", instanceId })), {
    every: 10,
    samples: 2,
    instance: instanceId,
  });
  assert.deepEqual(read(encodeSampling({ every: 1, only: "flow" })), { every: 1, samples: 6, instance: 0n });
  assert.notEqual(instanceId, instanceIdOf("filter/default/b"));
});
