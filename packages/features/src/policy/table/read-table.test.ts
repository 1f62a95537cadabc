import assert from "node:assert/strict";
import { test } from "node:test";
import { smallTable } from "../testing/small-table.ts";
import { readTable } from "./read-table.ts";
import { writeTable } from "./write-table.ts";

test("readTable finds every endpoint, rule and address that was written", () => {
  const peers = Object.fromEntries(
    Array.from({ length: 300 }, (_, at) => [`p${at}`, [Uint8Array.of(10, 0, at >> 8, at & 255), 32] as const]),
  );
  const table = smallTable({
    serial: 7n,
    ifindex: 42,
    peers: { ...peers, wide: [Uint8Array.of(192, 168, 0, 0), 16] },
    ingress: [
      {
        rules: [
          { rule: 1, peer: "p0" },
          { rule: 2, peer: "wide", verdict: "drop" },
        ],
        fallback: "drop",
      },
      { rules: [{ rule: 3, keepsFlows: true }] },
    ],
  });
  const { serial, endpoints, tables, addresses } = readTable(writeTable(table).lines);
  assert.equal(serial, 7n);
  assert.deepEqual(endpoints, [{ ifindex: 42, ingress: [1, 2], egress: [] }]);
  assert.deepEqual(
    tables.map(({ rules }) => rules.map(({ rule, verdict }) => `${rule} ${verdict}`)),
    // What means everything is the last one of its table.
    [["1 pass", "2 drop", "0 drop"], ["3 pass"]],
  );
  const texts = (all: typeof addresses): readonly string[] =>
    all.map((each) => `${each.bytes.join(".")}/${each.length} ${each.class}`).toSorted();
  assert.deepEqual(texts(addresses), texts(table.addresses));
});
