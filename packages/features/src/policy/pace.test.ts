import assert from "node:assert/strict";
import { test } from "node:test";
import { policyLayout } from "./generated/policy.ts";
import { paceOf } from "./pace.ts";

const most = Number.MAX_SAFE_INTEGER;
const powers = Array.from({ length: 53 }, (_, bits) => 2 ** bits);
const rates = [...powers, ...powers.map((power) => Math.min(most, power * 2 - 1)), 3, 10, 8e9, 1e10, 1e11, 4e11 - 7];
const sizes = [1, 42, 64, 1500, 65_549, 8 * 65_536, 2 ** 20 - 1].map(BigInt);
const bits = BigInt(policyLayout.pace_bits);

/** As `time_of` in bpf/include/policy-bandwidth.h. */
function timeOf(bytes: bigint, byteTime: bigint): bigint {
  const fraction = byteTime & ((1n << bits) - 1n);
  const sum = bytes * (byteTime >> bits) + (1n << fraction) - 1n;
  assert.ok(sum < 1n << 64n, `${bytes} bytes at ${byteTime}`);
  return sum >> fraction;
}

test("paceOf makes of every rate a time that is never too short, and too long by a part in 2^41 and a nanosecond at most", () => {
  for (const bitsPerSecond of rates) {
    const { byteTime } = paceOf({ bitsPerSecond, burstBytes: 1 });
    assert.ok(byteTime > 0n && byteTime < 1n << 64n, String(bitsPerSecond));
    for (const bytes of sizes) {
      const [exact, rate] = [bytes * 8_000_000_000n, BigInt(bitsPerSecond)];
      const time = timeOf(bytes, byteTime);
      assert.ok(time * rate >= exact, `${bytes} bytes at ${bitsPerSecond}: ${time} ns`);
      assert.ok((time - 1n) * rate <= exact + (exact >> 41n), `${bytes} bytes at ${bitsPerSecond}: ${time} ns`);
    }
  }
});

test("paceOf makes of every burst a time that can be added to the present", () => {
  for (const bitsPerSecond of rates) {
    for (const burstBytes of [1, 65_536, 2 ** 31, most, undefined]) {
      const { byteTime, burstNs } = paceOf({ bitsPerSecond, burstBytes });
      const centuryNs = 100n * 366n * 86_400n * 1_000_000_000n;
      assert.ok(centuryNs + burstNs + timeOf(2n ** 19n, byteTime) < 1n << 63n, `${burstBytes} at ${bitsPerSecond}`);
    }
  }
  assert.equal(paceOf({ bitsPerSecond: 8_000_000_000, burstBytes: 2 ** 33 }).burstNs, 2n ** 33n);
});
