import assert from "node:assert/strict";
import { test } from "node:test";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import type { FeaturePlan } from "../feature.ts";
import type { PolicyIntent } from "./intent.ts";
import { policy as feature } from "./policy-feature.ts";
import type { Policy } from "./policy.ts";
import { label, policyOf, tcp } from "./testing/written-policy.ts";

const facts = nodeFacts({
  objects: { policy: { digest: "d" } },
  interfaces: [interfaceFacts("eth0", { addresses: ["172.16.0.1/24"] })],
  labels: { role: "worker" },
});

/** About nodes with these roles, a statement for each; `undefined`: about pods. */
function about(roles: readonly (string | undefined)[], change: Partial<Policy> = {}): PolicyIntent {
  const ingress = { allow: [{ ports: [tcp(80)] }] };
  const policy = policyOf("p", ...roles.map(() => ({ where: [label("app", "none")], ingress })));
  const statements = policy.statements.map((statement, at) => {
    const role = roles[at];
    if (role === undefined) return statement;
    const where = [{ on: "node", key: "role", operator: "In", values: [role] }] as const;
    return { ...statement, subject: { ...statement.subject, selects: "nodes", where } as const };
  });
  const origin = { object: policy.ref, path: "" };
  return { feature: "policy", about: "policy", origin, tier: "policy", policy: { ...policy, statements, ...change } };
}

const planOf = (...roles: readonly (string | undefined)[]): FeaturePlan => feature.plan([about(roles)], facts);
const reasons = ({ problems }: FeaturePlan): readonly string[] => problems.map(({ reason }) => reason);

test("policy.plan says of a policy about other nodes that this one is not selected, and plans nothing for it", () => {
  const plan = planOf("core", "edge");
  assert.deepEqual(
    plan.problems.map(({ severity, reason, message }) => `${severity} ${reason}: ${message}`),
    ["note nodeNotSelected: node node is not selected: its labels are not those of nodeSelector"],
  );
  assert.deepEqual([plan.attachments, plan.programs, plan.instances], [[], [], []]);
});

test("policy.plan takes a policy that is about pods too, or about this node by one of its statements, for selecting", () => {
  assert.ok(!reasons(planOf("core", undefined)).includes("nodeNotSelected"));
  assert.ok(!reasons(planOf("core", "worker")).includes("nodeNotSelected"));
  assert.ok(!reasons(planOf(undefined)).includes("nodeNotSelected"));
});

test("policy.plan says of what is only tried out too that it is about other nodes", () => {
  const plan = feature.plan([about(["core"], { mode: "shadow" })], facts);
  assert.deepEqual(reasons(plan).toSorted(), ["Shadow", "nodeNotSelected"]);
});

test("policy.plan leaves it at the reason why a policy about other nodes is refused", () => {
  const refused = feature.plan([about(["core"])], { ...facts, objects: {} });
  assert.deepEqual(reasons(refused), ["NotFound"]);
});
