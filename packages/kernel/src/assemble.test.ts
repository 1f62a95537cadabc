import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assemblePlan, type PlanPart } from "./assemble.ts";
import type { HookPoint } from "./hook-point.ts";
import type { MapSpec, ProgramSpec } from "./specs.ts";

const map = (key: string, maxEntries = 4): MapSpec => ({
  key,
  name: "m",
  definition: { type: "hash", keySize: 4, valueSize: 4, maxEntries, flags: 0 },
  contents: { kind: "live" },
  owner: { group: "g", kind: "K", namespace: "ns", name: key },
});
const program = (key: string, ...maps: string[]): ProgramSpec => ({
  key,
  name: "p",
  type: "xdp",
  object: { name: "o", digest: "1" },
  entry: "main",
  globals: {},
  maps: Object.fromEntries(maps.map((each) => [each, each])),
  owner: { group: "g", kind: "K", namespace: "ns", name: key },
});
const eth0: HookPoint = { hook: "xdp", interface: "eth0" };
const part = (fields: Partial<PlanPart>): PlanPart => ({
  maps: [],
  programs: [],
  attachments: [],
  instances: [],
  problems: [],
  ...fields,
});
const attach = (key: string, priority: number, proceedOn: readonly number[] = [2]) => ({
  point: eth0,
  member: { program: key, priority, proceedOn },
});
const instance = (key: string) => ({
  feature: "f",
  owner: { group: "g", kind: "K", namespace: "ns", name: key },
  key,
  programs: [key],
  maps: {},
  rules: [],
  data: null,
});

test("assemblePlan orders the members of a hook by priority, then by key", () => {
  const plan = assemblePlan([
    part({ programs: [program("c"), program("b")], attachments: [attach("c", 10), attach("b", 10)] }),
    part({ programs: [program("a"), program("z")], attachments: [attach("a", 20), attach("z", 5)] }),
  ]);
  assert.deepEqual(
    plan.hooks.map((hook) => [hook.key, hook.members.map((member) => member.program)]),
    [["xdp/eth0", ["z", "b", "c", "a"]]],
  );
});

test("assemblePlan makes the same plan of the same parts in any order", () => {
  const parts = ["a", "b", "c"].map((key) =>
    part({
      maps: [map(key)],
      programs: [program(key, key)],
      attachments: [attach(key, 0)],
      instances: [instance(key)],
    }),
  );
  const plan = assemblePlan(parts);
  fc.assert(
    fc.property(fc.shuffledSubarray(parts, { minLength: 3 }), (shuffled) =>
      assert.deepEqual(assemblePlan(shuffled), plan),
    ),
  );
});

test("assemblePlan shares what several parts ask for alike", () => {
  const plan = assemblePlan([
    part({ maps: [map("shared")] }),
    part({ maps: [{ ...map("shared"), owner: undefined }] }),
  ]);
  assert.equal(plan.maps.length, 1);
  assert.deepEqual(plan.problems, []);
});

test("assemblePlan refuses the second of two different things under one key, with what builds on it", () => {
  const plan = assemblePlan([
    part({
      maps: [map("m")],
      programs: [program("p", "m")],
      attachments: [attach("p", 0)],
      instances: [instance("p")],
    }),
    part({
      maps: [map("m", 8)],
      programs: [program("q", "m")],
      attachments: [attach("q", 1)],
      instances: [instance("q")],
    }),
  ]);
  assert.deepEqual(
    plan.maps.map((spec) => spec.definition.maxEntries),
    [4],
  );
  assert.deepEqual(
    plan.programs.map((spec) => spec.key),
    ["p"],
  );
  assert.deepEqual(
    plan.hooks[0]?.members.map((member) => member.program),
    ["p"],
  );
  assert.deepEqual(
    plan.instances.map((each) => each.key),
    ["p"],
  );
  assert.deepEqual(
    plan.problems.map((problem) => problem.reason),
    ["DuplicateKey"],
  );
  assert.match(plan.problems[0]?.message ?? "", /plan map m: another map is planned under this key for K ns\/m/);
});

test("assemblePlan tells when a program is attached twice with different wishes", () => {
  const plan = assemblePlan([
    part({ programs: [program("p")], attachments: [attach("p", 0), attach("p", 0), attach("p", 7)] }),
  ]);
  assert.deepEqual(
    plan.hooks[0]?.members.map((member) => member.priority),
    [0],
  );
  assert.deepEqual(
    plan.problems.map((problem) => [problem.reason, problem.origin.object.name]),
    [["AttachedTwice", "p"]],
  );
});

test("assemblePlan leaves out a program over a map that nobody plans, and says which", () => {
  const plan = assemblePlan([
    part({
      programs: [program("p", "gone"), program("q")],
      attachments: [attach("p", 0), attach("q", 1)],
      instances: [instance("p")],
    }),
  ]);
  assert.deepEqual(
    plan.programs.map((spec) => spec.key),
    ["q"],
  );
  assert.deepEqual(
    plan.hooks[0]?.members.map((member) => member.program),
    ["q"],
  );
  assert.deepEqual(plan.instances, []);
  assert.deepEqual(
    plan.problems.map(({ reason, severity }) => [reason, severity]),
    [["MapMissing", "waiting"]],
  );
  assert.match(plan.problems[0]?.message ?? "", /map gone/);
  assert.deepEqual(assemblePlan([part({ programs: [program("p", "gone")], attachments: [attach("p", 0)] })]).hooks, []);
});
