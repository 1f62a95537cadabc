import assert from "node:assert/strict";
import { test } from "node:test";
import { KernelError, type ObjectRef } from "@bpfleet/base";
import type { Decision, Feature } from "@bpfleet/features";
import {
  emptyPlan,
  FakeKernel,
  FakeWorld,
  renderHookKey,
  type HookPoint,
  type HookSpec,
  type ItemResult,
  type NodePlan,
  type ProgramSpec,
} from "@bpfleet/kernel";
import { CounterReader } from "./counters.ts";
import { explainPacket, whyNotInForce } from "./explain.ts";

const owner = (name: string): ObjectRef => ({ group: "g", kind: "K", namespace: "default", name });
const packet = Uint8Array.of(7, 7, 7);

/** Says in its text what the twin left behind. */
const judge: Feature = {
  name: "judge",
  plan: () => ({ maps: [], programs: [], attachments: [], instances: [], problems: [] }),
  passReasons: ["fine"],
  counterRoles: [],
  counters: (instance) => ({ owner: instance.owner, reasons: {}, rules: [], gauges: {} }),
  explanations: {
    twin: { globals: { dry_run: true }, scratch: "explained" },
    roles: ["list"],
    explain: (instance, scratch, readings): Decision => ({
      owner: instance.owner,
      verdict: scratch[0] === 0 ? "pass" : "drop",
      reason: "fine",
      text: `${scratch[0]} with ${readings.get("list")?.count} entries`,
    }),
  },
};

const program = (key: string): ProgramSpec => ({
  key,
  name: "p",
  type: "xdp",
  object: { name: "o", digest: "d" },
  entry: "e",
  globals: { knob: 1 },
  maps: { list: "list" },
  owner: owner(key),
});
function planOf(hooks: { point: HookPoint; members: { program: string; proceedOn: number[] }[] }[]): NodePlan {
  const keys = [...new Set(hooks.flatMap(({ members }) => members.map((member) => member.program)))];
  return {
    ...emptyPlan,
    maps: [
      {
        key: "list",
        name: "list",
        definition: { type: "hash", keySize: 1, valueSize: 1, maxEntries: 4, flags: 0 },
        contents: {
          kind: "kept",
          prune: false,
          entries: { count: 2, keys: Uint8Array.of(1, 2), values: Uint8Array.of(1, 1) },
        },
      },
    ],
    programs: keys.map(program),
    hooks: hooks.map(({ point, members }): HookSpec => ({
      key: renderHookKey(point),
      point,
      members: members.map((member, priority) => ({ ...member, priority })),
    })),
    instances: keys.map((key) => ({
      feature: "judge",
      owner: owner(key),
      key,
      programs: [key],
      maps: { list: "list" },
      rules: [],
      data: null,
    })),
  };
}

async function explain(plan: NodePlan, hook: string, verdicts: Record<string, number>) {
  const world = new FakeWorld();
  const kernel = new FakeKernel(world);
  for (const spec of plan.maps) await kernel.createMap(spec);
  const twins: ProgramSpec[] = [];
  world.run = (spec) => {
    twins.push(spec);
    return { verdict: verdicts[spec.key] ?? 0, scratch: Uint8Array.of(verdicts[spec.key] === 2 ? 0 : 1) };
  };
  const explanation = await explainPacket({ hook, packet }, plan, undefined, {
    kernel,
    features: [judge, { ...judge, name: "bytecode", explanations: undefined }],
    reader: new CounterReader(kernel, [judge]),
  });
  return { explanation, twins };
}

const eth0: HookPoint = { hook: "xdp", interface: "eth0" };

test("explainPacket walks the members in order as long as their verdicts proceed", async () => {
  const plan = planOf([
    {
      point: eth0,
      members: [
        { program: "a", proceedOn: [2] },
        { program: "b", proceedOn: [2] },
        { program: "c", proceedOn: [2] },
      ],
    },
  ]);
  const { explanation, twins } = await explain(plan, "xdp/eth0", { a: 2, b: 1, c: 2 });
  assert.deepEqual(
    explanation.steps.map(({ program, verdictName, proceeds, decision }) => [
      program,
      verdictName,
      proceeds,
      decision?.text,
    ]),
    [
      ["a", "XDP_PASS", true, "0 with 2 entries"],
      ["b", "XDP_DROP", false, "1 with 2 entries"],
    ],
  );
  assert.deepEqual([explanation.verdict, explanation.verdictName, explanation.passes], [1, "XDP_DROP", false]);
  assert.deepEqual(
    twins.map(({ globals }) => globals),
    [
      { knob: 1, dry_run: true },
      { knob: 1, dry_run: true },
    ],
  );
});

test("explainPacket does not run programs without a dry run, says what it assumes of them, and goes on", async () => {
  const plan = planOf([
    {
      point: eth0,
      members: [
        { program: "brought", proceedOn: [0, 2] },
        { program: "a", proceedOn: [2] },
      ],
    },
  ]);
  const instances = plan.instances.map((each) => (each.key === "brought" ? { ...each, feature: "bytecode" } : each));
  const { explanation, twins } = await explain({ ...plan, instances }, "xdp/eth0", { a: 1 });
  assert.deepEqual(
    explanation.steps.map(({ program, verdictName, proceeds }) => [program, verdictName, proceeds]),
    [
      ["brought", "XDP_PASS", true],
      ["a", "XDP_DROP", false],
    ],
  );
  assert.match(explanation.steps[0]?.decision?.text ?? "", /^not run, since it may write its maps.*assumed: XDP_PASS$/);
  assert.deepEqual([twins.map(({ key }) => key), explanation.passes], [["a"], false]);
});

test("explainPacket gives the last member's verdict when all proceed", async () => {
  const plan = planOf([
    {
      point: { hook: "tc", interface: "eth0", direction: "egress" },
      members: [
        { program: "a", proceedOn: [-1] },
        { program: "b", proceedOn: [-1] },
      ],
    },
  ]);
  const { explanation } = await explain(plan, "tc-egress/eth0", { a: -1, b: -1 });
  assert.deepEqual(
    explanation.steps.map(({ verdictName, proceeds }) => [verdictName, proceeds]),
    [
      ["TC_ACT_UNSPEC", true],
      ["TC_ACT_UNSPEC", false],
    ],
  );
  assert.equal(explanation.passes, true);
});

test("explainPacket runs every program of a cgroup, and one refusal is enough", async () => {
  const point = (member: string): HookPoint => ({ hook: "cgroup", path: "/pod", attach: "egress", member });
  const plan = planOf([
    { point: point("a"), members: [{ program: "a", proceedOn: [] }] },
    { point: point("b"), members: [{ program: "b", proceedOn: [] }] },
  ]);
  const { explanation } = await explain(plan, "cgroup-egress//pod", { a: 0, b: 1 });
  assert.deepEqual(
    explanation.steps.map(({ verdictName }) => verdictName),
    ["DENY", "ALLOW"],
  );
  assert.deepEqual([explanation.verdict, explanation.passes], [0, false]);
});

test("explainPacket names the hooks there are when it is asked for another one", async () => {
  const plan = planOf([{ point: eth0, members: [{ program: "a", proceedOn: [] }] }]);
  await assert.rejects(
    explain(plan, "xdp/eth1", {}),
    (error) =>
      error instanceof KernelError &&
      error.code === "not-found" &&
      error.message === "explain a packet at xdp/eth1: nothing of ours is planned there; there are xdp/eth0",
  );
});

test("CounterReader leaves out instances whose maps are not in the kernel", async () => {
  const plan = planOf([{ point: eth0, members: [{ program: "a", proceedOn: [] }] }]);
  const kernel = new FakeKernel();
  const reader = new CounterReader(kernel, [{ ...judge, counterRoles: ["list", "unknown"] }]);
  assert.deepEqual(await reader.read(plan), []);
  for (const spec of plan.maps) await kernel.createMap(spec);
  assert.deepEqual(
    (await reader.read(plan)).map((each) => each.owner),
    [owner("a")],
  );
});

test("whyNotInForce tells of a hook that is not as the plan has it, and of a pause", () => {
  const items: readonly ItemResult[] = [
    { item: "hook", key: "xdp/eth0", state: "in-force" },
    {
      item: "hook",
      key: "tc-egress/h0",
      state: "failed",
      error: { code: "busy", message: "attach tc-egress/h0: taken" },
    },
    { item: "hook", key: "cgroup-connect4/a#p", state: "withheld" },
  ];
  const why = (key: string, isPaused = false): string | undefined => whyNotInForce(key, { isPaused, items });
  assert.equal(why("xdp/eth0"), undefined);
  assert.equal(why("tc-egress/h0"), "attach tc-egress/h0: taken");
  assert.equal(why("cgroup-connect4/a"), "cgroup-connect4/a#p: withheld");
  assert.match(why("xdp/eth0", true) ?? "", /resume/);
});
