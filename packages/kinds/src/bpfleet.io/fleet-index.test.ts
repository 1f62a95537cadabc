import assert from "node:assert/strict";
import { test } from "node:test";
import { collectionOf, parseFleetIndex, renderFleetIndex } from "./fleet-index.ts";

test("parseFleetIndex reads what renderFleetIndex wrote, and the number of nodes as the next power of two", () => {
  const collections = new Set([collectionOf({ plural: "b", group: "x.io" }), "a.x.io"]);
  const data = renderFleetIndex({ collections, nodes: 4097 });
  assert.deepEqual(data, { collections: "a.x.io\nb.x.io", nodes: "8192" });
  assert.deepEqual(parseFleetIndex(data), { collections, nodes: 8192 });
  assert.equal(renderFleetIndex({ collections, nodes: 8192 }).nodes, "8192");
  assert.deepEqual(parseFleetIndex(renderFleetIndex({ collections: new Set(), nodes: 0 })), {
    collections: new Set(),
    nodes: 1,
  });
});

test("parseFleetIndex knows nothing of what it cannot read", () => {
  for (const data of [undefined, null, "", {}, { collections: "a.x.io" }, { collections: "", nodes: "-1" }])
    assert.equal(parseFleetIndex(data), undefined);
});
