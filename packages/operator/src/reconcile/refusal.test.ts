import assert from "node:assert/strict";
import { test } from "node:test";
import { refusal } from "@bpfleet/kube";
import { isOfContent, isOfImmutableField, isOfSchema } from "./refusal.ts";

function refused(status: number, ...causes: readonly object[]): Error {
  return refusal("apply daemonsets.apps kube-system/bpfd-daemon", status, { code: status, details: { causes } });
}

const selector = {
  field: "spec.selector",
  reason: "FieldValueInvalid",
  message: 'Invalid value: {"matchLabels":{"a":"b"}}: field is immutable',
};

test("isOfImmutableField is true where nothing but fields that never change stand in the way", () => {
  const roleRef = { field: "roleRef", reason: "FieldValueInvalid", message: "Invalid value: …: cannot change roleRef" };
  assert.ok(isOfImmutableField(refused(422, selector)));
  assert.ok(isOfImmutableField(refused(422, selector, roleRef)));
  const amount = { field: "spec.template", reason: "FieldValueInvalid", message: "must be an integer" };
  assert.ok(!isOfImmutableField(refused(422, selector, amount)));
  assert.ok(!isOfImmutableField(refused(422)));
  assert.ok(!isOfImmutableField(refused(500, selector)));
  // A policy has its author's words, and names no field.
  assert.ok(!isOfImmutableField(refused(422, { message: "field is immutable" })));
  assert.ok(!isOfImmutableField(new Error("field is immutable")));
});

test("isOfContent is true where fields stand in the way for what they would be, and none for what it was", () => {
  const twice = { field: "spec.ports[1].name", reason: "FieldValueDuplicate", message: 'Duplicate value: "metrics"' };
  assert.ok(isOfContent(refused(422, twice)));
  assert.ok(!isOfContent(refused(422, twice, selector)));
  assert.ok(!isOfContent(refused(422)));
  assert.ok(!isOfContent(refused(422, { message: "Duplicate value" })));
  assert.ok(!isOfContent(refused(500, twice)));
});

test("isOfSchema is true where the CRD has no place for a field of the status, and for no other 500", () => {
  const told = (message: string, status = 500): Error =>
    refusal("apply ciliumnetworkpolicies.cilium.io shop/a status", status, { code: status, message });
  const typed = "failed to create typed patch object (shop/a; cilium.io/v2, Kind=CiliumNetworkPolicy):";
  assert.ok(isOfSchema(told(`${typed} .status.nodes: field not declared in schema`)));
  assert.ok(
    isOfSchema(told(`${typed} errors:\n  .status.a: field not declared in schema\n  .status.b: expected list`)),
  );
  assert.ok(!isOfSchema(told(`${typed} .status.nodes: field not declared in schema`, 422)));
  assert.ok(!isOfSchema(told("etcdserver: leader changed")));
  assert.ok(!isOfSchema(told(`Internal error occurred: failed calling webhook "x": ${typed} .status.a: field`)));
  assert.ok(!isOfSchema(new Error(`apply a: ${typed} .status.nodes: field not declared in schema`)));
});
