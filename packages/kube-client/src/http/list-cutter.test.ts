import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ListCutter } from "./list-cutter.ts";

test("ListCutter gives the items of any list, however it is cut, and the list without them", () => {
  const meta = fc.record({ resourceVersion: fc.string(), items: fc.array(fc.json()) });
  const item = fc.dictionary(fc.string(), fc.jsonValue());
  fc.assert(
    fc.property(
      fc.array(item),
      meta,
      fc.boolean(),
      fc.integer({ min: 1, max: 40 }),
      (items, metadata, isLast, size) => {
        const around = { apiVersion: "v1", kind: "items", extra: [["items", [1, { items: [] }]]] };
        const list = isLast ? { ...around, metadata, items } : { ...around, items, metadata };
        const bytes = Buffer.from(JSON.stringify(list));
        const cutter = new ListCutter();
        const found: unknown[] = [];
        for (let at = 0; at < bytes.length; at += size)
          for (const text of cutter.cut(bytes.subarray(at, at + size))) found.push(JSON.parse(text));
        assert.deepEqual(found, JSON.parse(JSON.stringify(items)));
        assert.deepEqual(JSON.parse(cutter.rest()), JSON.parse(JSON.stringify({ ...list, items: [] })));
      },
    ),
  );
});
