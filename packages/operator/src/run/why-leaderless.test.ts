import assert from "node:assert/strict";
import { test } from "node:test";
import { whyLeaderless } from "./why-leaderless.ts";

test("whyLeaderless names the Lease and what it was refused with last", () => {
  const lease = { namespace: "kube-system", name: "bpfleet" };
  assert.equal(whyLeaderless(lease, "a", new Error("old")), undefined);
  assert.equal(
    whyLeaderless(lease, undefined, undefined),
    "no leader is known yet: Lease kube-system/bpfleet has named nobody so far",
  );
  assert.match(
    whyLeaderless(lease, undefined, new Error("get Lease kube-system/bpfleet: forbidden")) ?? "",
    /so far; the last fault: get Lease kube-system\/bpfleet: forbidden$/,
  );
});
