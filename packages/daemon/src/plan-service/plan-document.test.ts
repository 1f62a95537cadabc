import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeValue } from "@bpfleet/wire";
import { emptyPlan, type FeatureInstance } from "@bpfleet/kernel";
import { instance } from "../testing/test-plans.ts";
import { decodePlanItem, encodePlan } from "./plan-document.ts";

test("decodePlanItem holds once what items of a list have in common, and tells apart what only reads the same", () => {
  const isolatedBy = () => ({ ingress: [0, 1], egress: [1] });
  const endpoints = [
    { pod: "a", isolatedBy: isolatedBy() },
    { pod: "b", isolatedBy: isolatedBy(), triedBy: { ingress: ["1"], egress: [] } },
    { pod: "c", triedBy: { ingress: [1n], egress: [] } },
  ];
  const data = { about: "node", endpoints, places: [[0, 2]] };
  const [sent] = encodePlan({ ...emptyPlan, instances: [{ ...instance("a", 0), data }] }).instances;
  const decoded = (decodePlanItem(encodeValue(sent), "instances") as FeatureInstance).data as typeof data;
  assert.deepEqual(decoded, data);
  const [a, b] = decoded.endpoints;
  assert.equal(a?.isolatedBy, b?.isolatedBy);
});
