import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyPlan, notSelectedReason, type FeatureInstance, type ItemResult, type NodePlan } from "@bpfleet/kernel";
import type { Outcome } from "../kind.ts";
import { outcome } from "../testing/outcomes.ts";
import { parsePolicy } from "../testing/policies.ts";
import { lowerPolicy } from "./lower-policy.ts";
import { policyStatus } from "./policy-status.ts";
import { findPolicy } from "./read-policy.ts";

const result = parsePolicy({ endpointSelector: {}, ingress: [{}] });
const parsed = result.ok ? result.value : assert.fail();

const instance: FeatureInstance = {
  feature: "policy",
  owner: parsed.ref,
  key: "policy/objects/p",
  programs: ["policy/ingress"],
  maps: { table: "policy/table" },
  rules: [],
  hooks: ["tc-ingress/veth1"],
  data: {},
};
const plan: NodePlan = { ...emptyPlan, instances: [instance] };
const good: readonly ItemResult[] = [
  { item: "map", key: "policy/table", state: "in-force" },
  { item: "program", key: "policy/ingress", state: "in-force" },
  { item: "hook", key: "tc-ingress/veth1", state: "in-force" },
];

function told(fields: Partial<Outcome>): readonly string[] {
  const { conditions = [] } = policyStatus(parsed, outcome(fields));
  return conditions
    .filter(({ type }) => type !== "Valid")
    .map(({ type, status, reason, message }) => `${type}=${status} ${reason}: ${message}`);
}

test("policyStatus is Enforced when the table, its programs and the hooks of the selected pods are in force", () => {
  assert.deepEqual(told({ plan, items: good }), [
    "Ready=True Ready: in force",
    "Accepted=True Accepted: served as declared",
    "Enforced=True Enforced: decides on the packets of the pods it selects",
  ]);
  const pod = { namespace: "x", pod: "a" };
  const node = { isNode: true, namespace: "", pod: "n" };
  const saidOf = (...endpoints: readonly object[]): string | undefined =>
    told({ plan: { ...plan, instances: [{ ...instance, data: { endpoints } }] }, items: good }).at(-1);
  assert.equal(saidOf(node), "Enforced=True Enforced: decides on the packets of the node itself");
  assert.match(saidOf(pod, node) ?? "", /of the pods it selects, and of the node itself$/);
  assert.deepEqual(told({ plan, items: good.slice(0, 2) }).slice(1), [
    "Accepted=True Accepted: served as declared",
    "Enforced=False InProgress: not tried yet",
  ]);
  const error = { code: "busy", message: "attach it: somebody else is there" } as const;
  const failed: ItemResult = { item: "hook", key: "tc-ingress/veth1", state: "failed", error };
  assert.deepEqual(told({ plan, items: [...good.slice(0, 2), failed] }).slice(0, 1), [
    "Ready=False HookOccupied: attach it: somebody else is there",
  ]);
});

test("policyStatus finds the hooks of the selected pods by their places on the node", () => {
  const pod = (name: string) => ({ namespace: "x", pod: name, interface: name, ifindex: 1 });
  const node = { ...instance, key: "policy/node", owner: { ...parsed.ref, kind: "Node" } };
  const endpoints = [pod("a"), pod("b"), { ...pod("n"), isNode: true }, pod("c")];
  const hooksOf = (...names: readonly string[]): ItemResult[] =>
    names.flatMap((name) =>
      ["tc-ingress", "tc-egress"].map((hook): ItemResult => ({
        item: "hook",
        key: `${hook}/${name}`,
        state: "in-force",
      })),
    );
  const saidOf = (places: readonly (readonly number[])[], items: readonly ItemResult[]): string | undefined => {
    const own = { ...instance, hooks: [], data: { about: "policy", endpoints: [], places } };
    const instances = [{ ...node, data: { about: "node", endpoints } }, own];
    return told({ plan: { ...plan, instances }, items: [...good.slice(0, 2), ...items] }).at(-1);
  };
  const enforced = "Enforced=True Enforced: decides on the packets of the pods it selects";
  assert.equal(saidOf([[0, 1]], hooksOf("a", "b")), enforced);
  assert.equal(saidOf([[0, 1]], hooksOf("a", "c")), "Enforced=False InProgress: not tried yet");
  const both = [
    [1, 1],
    [3, 3],
  ];
  assert.equal(saidOf(both, hooksOf("b", "c")), enforced);
  assert.equal(saidOf([[1, 3]], hooksOf("b", "c")), `${enforced}, and of the node itself`);
});

test("policyStatus tells of a pod that is not found, and nothing where no pod is selected", () => {
  const origin = { object: parsed.ref, path: "" };
  const problem = { origin, reason: "EndpointNotFound", message: "not in force on p", severity: "waiting" } as const;
  assert.deepEqual(told({ plan, items: good, problems: [problem] }), [
    "Ready=False EndpointNotFound: not in force on p",
    "Accepted=True Accepted: served as declared",
    "Enforced=False EndpointNotFound: not in force on p",
  ]);
  assert.match(told({ plan, items: good, isPaused: true })[2] ?? "", /^Enforced=False Paused: /);
  assert.deepEqual(told({}), ["Ready=True Ready: in force", "Accepted=True Accepted: served as declared"]);
});

test("policyStatus says that it is about other nodes", () => {
  const origin = { object: parsed.ref, path: "" };
  const problem = { origin, reason: notSelectedReason, message: "node n is not selected", severity: "note" } as const;
  assert.deepEqual(told({ problems: [problem] }), [
    "Ready=True NotSelected: node n is not selected",
    "Accepted=True Accepted: node n is not selected",
  ]);
  const refused = { ...problem, reason: "NotServed", message: "names are not served", severity: "refused" } as const;
  assert.equal(told({ problems: [problem, refused] })[0], "Ready=False NotServed: names are not served");
});

test("policyStatus says why a policy is refused without what else one should know of it", () => {
  const origin = { object: parsed.ref, path: "" };
  const note = { origin, reason: "Warning", message: "it denies whatever else comes", severity: "note" } as const;
  const refused = { origin, reason: "NotServed", message: "names are not served", severity: "refused" } as const;
  assert.deepEqual(told({ problems: [note, refused, { ...refused, message: "nor is this" }] }), [
    "Ready=False NotServed: names are not served; nor is this",
    "Accepted=False NotServed: names are not served; nor is this",
  ]);
  assert.deepEqual(told({ problems: [note] }), [
    "Ready=True Ready: in force",
    "Accepted=True Accepted: it denies whatever else comes",
  ]);
});

test("policyStatus records the hardware that a policy asks for, and that it is in force without it", () => {
  const rule = { endpointSelector: {}, ingress: [{}], options: { xdp: "true", hardwareType: "bluefield-2" } };
  const read = parsePolicy(rule);
  const wished = read.ok ? read.value : assert.fail();
  const { problems } = lowerPolicy(wished, findPolicy(wished) ?? assert.fail());
  const { conditions = [] } = policyStatus(wished, outcome({ problems }));
  const messageOf = (which: string): string | undefined => conditions.find(({ type }) => type === which)?.message;
  assert.equal(
    messageOf("Accepted"),
    'asks for hardware (xdp: "true", hardwareType: "bluefield-2"), which is not served yet: in force without it',
  );
  assert.equal(messageOf("Ready"), "in force");
  assert.equal(problems[0]?.origin.path, "/spec/options");
});
