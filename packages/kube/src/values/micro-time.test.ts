import assert from "node:assert/strict";
import { test } from "node:test";
import { renderTime } from "@bpfleet/base";
import fc from "fast-check";
import { parseTime, renderMicroTime } from "./micro-time.ts";

test("renderMicroTime always has six digits, renderTime none", () => {
  assert.equal(renderMicroTime(1_700_000_000_000), "2023-11-14T22:13:20.000000Z");
  assert.equal(renderMicroTime(1_700_000_000_123.456), "2023-11-14T22:13:20.123456Z");
  assert.equal(renderMicroTime(1_700_000_000_999 + 0.9999), "2023-11-14T22:13:21.000000Z");
  assert.equal(renderTime(1_700_000_000_999), "2023-11-14T22:13:20Z");
});

test("parseTime reads times of RFC 3339 of any zone and precision, and nothing else", () => {
  assert.equal(parseTime("2023-11-14T22:13:20Z"), 1_700_000_000_000);
  assert.equal(parseTime("2023-11-14T23:13:20.123456+01:00"), 1_700_000_000_123.456);
  for (const text of ["", "soon", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z"])
    assert.equal(parseTime(text), undefined, text);
});

test("parseTime reads back what renderMicroTime wrote, to the microsecond", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000_000_000 }), fc.nat(999), (ms, micros) => {
      const time = ms + micros / 1000;
      assert.ok(Math.abs((parseTime(renderMicroTime(time)) ?? NaN) - time) < 0.0011);
    }),
  );
});
