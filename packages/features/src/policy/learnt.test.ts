import assert from "node:assert/strict";
import { test } from "node:test";
import type { MapEntries } from "@bpfleet/kernel";
import { countForgotten, namesOf, readLearnt, readNameEvents } from "./learnt.ts";
import { nameEntries } from "./testing/learnt-names.ts";

function entriesOf(pairs: readonly (readonly [Uint8Array, Uint8Array])[]): MapEntries {
  const join = (at: 0 | 1): Uint8Array => Uint8Array.from(Buffer.concat(pairs.map((pair) => pair[at])));
  return { count: pairs.length, keys: join(0), values: join(1) };
}

const taught = nameEntries(
  [
    { ifindex: 7, address: "203.0.113.9", name: "a.test" },
    { ifindex: 7, address: "203.0.113.9", name: "b.test" },
    { ifindex: 8, address: "2001:db8::1", name: "a.test" },
  ],
  5_000_000_000n,
);
const [learnt, known] = [entriesOf(taught.learnt), entriesOf(taught.known)];

test("readLearnt tells all names of all addresses, and leaves out those whose text is forgotten", () => {
  const found = readLearnt(learnt, known).map(
    ({ ifindex, address, name, untilNs }) => `${ifindex} ${address.join(".")} ${name} ${untilNs}`,
  );
  assert.deepEqual(found, [
    "7 203.0.113.9 a.test 5000000000",
    "7 203.0.113.9 b.test 5000000000",
    "8 32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1 a.test 5000000000",
  ]);
  const without = entriesOf(taught.known.slice(1));
  assert.deepEqual(
    readLearnt(learnt, without).map(({ name }) => name),
    ["b.test"],
  );
});

test("namesOf tells what one endpoint knows an address by", () => {
  const of = (ifindex: number): readonly string[] =>
    namesOf(learnt, known, ifindex, Uint8Array.of(203, 0, 113, 9)).map(({ name }) => name);
  assert.deepEqual(of(7), ["a.test", "b.test"]);
  assert.deepEqual(of(8), []);
});

test("readNameEvents sums what each CPU counted", () => {
  const values = new BigUint64Array(16).fill(0n);
  values.set([3n, 4n], 2);
  const entries = { count: 8, keys: new Uint8Array(32), values: new Uint8Array(values.buffer) };
  const { asked, refused } = readNameEvents(entries);
  assert.deepEqual([asked, refused], [0n, 7n]);
});

test("countForgotten tells what was added and is there no more, and never less than nothing", () => {
  const events = { address_added: 20n, name_added: 5n, no_room: 1n };
  assert.deepEqual(countForgotten(events, { count: 16 }, { count: 5 }), { addresses: 5n, names: 0n });
  assert.deepEqual(countForgotten(events, { count: 21 }, { count: 2 }), { addresses: 1n, names: 3n });
});
