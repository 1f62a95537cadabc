import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareQuantities, parseQuantity, quantityMilli, quantityValue } from "./quantity.ts";

const value = (text: string): bigint | undefined => {
  const quantity = parseQuantity(text);
  return quantity === undefined ? undefined : quantityValue(quantity);
};

test("parseQuantity reads every suffix, and quantityValue rounds up as Kubernetes does", () => {
  const cases: readonly (readonly [string, bigint | undefined])[] = [
    ["0", 0n],
    ["128Mi", 134_217_728n],
    ["1.5Gi", 1_610_612_736n],
    ["1E", 10n ** 18n],
    ["2e3", 2000n],
    ["2E3", 2000n],
    ["1e-1", 1n],
    ["100m", 1n],
    ["-100m", -1n],
    ["1n", 1n],
    [".5", 1n],
    ["5.", 5n],
    ["12k", 12_000n],
    ["1Ei", 1n << 60n],
    ["", undefined],
    [".", undefined],
    ["1K", undefined],
    ["1 Mi", undefined],
    ["1MiB", undefined],
    ["0x10", undefined],
    ["1e", undefined],
  ];
  for (const [text, expected] of cases) assert.equal(value(text), expected, text);
});

test("quantityMilli tells thousandths", () => {
  const milli = (text: string): bigint | undefined => {
    const quantity = parseQuantity(text);
    return quantity === undefined ? undefined : quantityMilli(quantity);
  };
  assert.equal(milli("250m"), 250n);
  assert.equal(milli("1.5"), 1500n);
  assert.equal(milli("1u"), 1n);
});

test("compareQuantities compares amounts however they are written", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.constantFrom("", "k", "M"), (amount, suffix) => {
      const factor = { "": 1n, k: 1000n, M: 1_000_000n }[suffix];
      const [a, b] = [parseQuantity(`${amount}${suffix}`), parseQuantity(String(amount * factor))];
      assert.ok(a !== undefined && b !== undefined);
      assert.equal(compareQuantities(a, b), 0);
      const more = parseQuantity(String(amount * factor + 1n));
      assert.equal(more === undefined ? 0 : compareQuantities(a, more), -1);
    }),
  );
});
