import assert from "node:assert/strict";
import { test } from "node:test";
import { EventThrottle, mostEventsPerSecond } from "./event-throttle.ts";

/** Programs that see so many packets a second, and a daemon that reads what they report every `readMs`. */
function flood(throttle: EventThrottle, perSecond: number, fromMs: number, seconds: number, readMs: number) {
  let [told, reported, calmedMs] = [0, 0, fromMs];
  for (let now = fromMs; now < fromMs + seconds * 1000; now += readMs) {
    const came = Math.round((perSecond * readMs) / 1000 / throttle.factor);
    for (let each = 0; each < came; each++) if (throttle.take(now - readMs + (each / came) * readMs, now)) told++;
    reported += came;
    if (throttle.rises()) throttle.switched(now);
    if (now - calmedMs < 250) continue;
    if (throttle.calms(calmedMs, now)) throttle.switched(now);
    calmedMs = now;
  }
  return { told, reported };
}

for (const readMs of [5, 60])
  test(`EventThrottle bounds what is told of a flood that is read each ${readMs} ms, and says how much is missing`, () => {
    const throttle = new EventThrottle();
    const { told, reported } = flood(throttle, 500_000, 1000, 10, readMs);
    assert.ok(told <= 10.2 * mostEventsPerSecond, `${told} told`);
    assert.ok(told >= 5 * mostEventsPerSecond, `${told} told`);
    assert.ok(reported <= 40 * mostEventsPerSecond, `${reported} reported`);
    const missed = throttle.takeMissed();
    assert.ok(missed > 4_500_000 && missed < 5_500_000, `${missed} missed`);
    assert.equal(throttle.takeMissed(), 0);
    flood(throttle, 200, 20_000, 6, readMs);
    assert.equal(throttle.factor, 1);
  });

test("EventThrottle counts what the kernel lost as so many as each of them stood for", () => {
  const throttle = new EventThrottle();
  throttle.lose(7);
  assert.equal(throttle.takeMissed(), 7);
  throttle.factor = 4;
  throttle.lose(1);
  throttle.switched(0);
  throttle.lose(2);
  assert.equal(throttle.takeMissed(), 1 + 2 * 4);
});

test("EventThrottle leaves alone what is below its rate", () => {
  const throttle = new EventThrottle();
  const { told, reported } = flood(throttle, 1000, 1000, 3, 5);
  assert.deepEqual([told, throttle.factor, throttle.takeMissed()], [reported, 1, 0]);
});
