import assert from "node:assert/strict";
import { test } from "node:test";
import { compareResourceVersions, renderAddress, resourcePath } from "./resource.ts";

test("resourcePath names collections and objects of core and other groups, each word encoded", () => {
  const pods = { group: "", version: "v1", plural: "pods" };
  assert.equal(resourcePath(pods), "/api/v1/pods");
  assert.equal(resourcePath({ ...pods, namespace: "a", name: "b" }, "status"), "/api/v1/namespaces/a/pods/b/status");
  const leases = { group: "coordination.k8s.io", version: "v1", plural: "leases", namespace: "kube-system" };
  assert.equal(resourcePath(leases), "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases");
  assert.equal(resourcePath({ ...pods, name: "../x?y" }), "/api/v1/pods/..%2Fx%3Fy");
});

test("renderAddress names things as kubectl does", () => {
  const leases = { group: "coordination.k8s.io", version: "v1", plural: "leases" };
  assert.equal(renderAddress(leases), "leases.coordination.k8s.io");
  assert.equal(renderAddress({ ...leases, namespace: "n" }), "leases.coordination.k8s.io in n");
  assert.equal(renderAddress({ ...leases, namespace: "n", name: "x" }), "leases.coordination.k8s.io n/x");
});

test("compareResourceVersions compares decimal numbers of any length and nothing else", () => {
  assert.ok((compareResourceVersions("9", "10") ?? 0) < 0);
  assert.ok((compareResourceVersions("98765432109876543210", "98765432109876543209") ?? 0) > 0);
  assert.equal(compareResourceVersions("10", "10"), 0);
  assert.equal(compareResourceVersions("010", "9"), undefined);
  assert.equal(compareResourceVersions("a", "9"), undefined);
});
