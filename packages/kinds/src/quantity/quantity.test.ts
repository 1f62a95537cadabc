import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { durationPattern, parseDuration, parseRate, parseSize, ratePattern, sizePattern } from "./quantity.ts";

test("parseRate reads what tc and people write, always as bits", () => {
  const rates = { "1Gbit": 1e9, "5Mbit": 5e6, "100Mbps": 1e8, "512Kibit": 524_288, "1000": 1000, "1.5g": 15e8 };
  for (const [text, bits] of Object.entries(rates)) assert.equal(parseRate(text), bits, text);
  for (const text of ["", "0", "0Mbit", "Mbit", "5 Mbit", "5Mbyte", "-5", "5e6", "1Pbit"])
    assert.equal(parseRate(text), undefined, text);
});

test("parseSize reads sizes as tc does: k is 1024 bytes", () => {
  const sizes = { "15kb": 15_360, "50k": 51_200, "1500": 1500, "1500b": 1500, "2M": 2_097_152, "1KiB": 1024 };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseSize(text), bytes, text);
  for (const text of ["", "0", "kb", "15kbit", "-1"]) assert.equal(parseSize(text), undefined, text);
});

test("parseDuration reads what Go writes", () => {
  const durations = { "30s": 30_000, "1m30s": 90_000, "50ms": 50, "1.5h": 5_400_000, "250us": 0.25, "0s": 0 };
  for (const [text, ms] of Object.entries(durations)) assert.equal(parseDuration(text), ms, text);
  for (const text of ["", "30", "s", "30 s", "-1s", "1d"]) assert.equal(parseDuration(text), undefined, text);
});

test("parseRate, parseSize and parseDuration read all that their patterns let pass", () => {
  const all = [
    [ratePattern, parseRate],
    [sizePattern, parseSize],
  ] as const;
  for (const [pattern, parse] of all) {
    fc.assert(
      fc.property(fc.stringMatching(new RegExp(pattern)), (text) => {
        fc.pre(/[1-9]/.test(text) && text.length < 9);
        assert.notEqual(parse(text), undefined, text);
      }),
    );
  }
  fc.assert(
    fc.property(fc.stringMatching(new RegExp(durationPattern)), (text) => {
      assert.notEqual(parseDuration(text), undefined, text);
    }),
  );
});
