import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { emptyJournal, emptyPlan, type MapSpec, type NodePlan } from "@bpfleet/kernel";
import { NodeState } from "./node-state.ts";
import { keptRules, parsePlan, renderPlan } from "./plan-text.ts";

const plan: NodePlan = {
  ...emptyPlan,
  maps: [
    {
      key: "filter/default/a/exact",
      name: "exact",
      definition: { type: "hash", keySize: 2, valueSize: 1, maxEntries: 2, flags: 0 },
      contents: {
        kind: "sealed",
        digest: "d1",
        entries: { count: 2, keys: Buffer.from([1, 2, 3, 4]), values: Uint8Array.of(9, 8) },
      },
    },
  ],
  programs: [
    {
      key: "p",
      name: "p",
      type: "xdp",
      object: { name: "filter", digest: "00" },
      entry: "xdp",
      globals: { big: 2n ** 63n, flag: true, bytes: Uint8Array.of(1) },
      maps: {},
    },
  ],
};

function directory(t: { after(end: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), "bpfleet-state-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test("parsePlan gives back what renderPlan wrote, bytes and 64-bit numbers too", () => {
  const back = parsePlan(renderPlan(plan));
  assert.deepEqual(back.programs, plan.programs);
  assert.deepEqual(back.maps[0]?.contents, {
    kind: "sealed",
    digest: "d1",
    entries: { count: 2, keys: Uint8Array.of(1, 2, 3, 4), values: Uint8Array.of(9, 8) },
  });
});

test("NodeState remembers plan, journal, pause and hash seed over a restart, readable by the owner alone", async (t) => {
  const path = directory(t);
  const first = new NodeState(path);
  const fresh = await first.load();
  assert.deepEqual(
    { ...fresh, hashSeed: 0 },
    { plan: undefined, journal: emptyJournal, isPaused: false, hashSeed: 0, unusable: [] },
  );
  await (
    await first.savePlan(plan)
  ).durable;
  await first.saveJournal({ ...emptyJournal, owned: { "m@1": "0102" } });
  await first.savePaused(true);

  const second = await new NodeState(path).load();
  assert.equal(second.plan?.maps[0]?.key, "filter/default/a/exact");
  assert.deepEqual(second.journal.owned, { "m@1": "0102" });
  assert.equal(second.isPaused, true);
  assert.equal(second.hashSeed, fresh.hashSeed);
  assert.equal(statSync(join(path, "plan")).mode & 0o777, 0o600);
  assert.equal(statSync(path).mode & 0o777, 0o700);

  await first.savePaused(false);
  assert.equal((await new NodeState(path).load()).isPaused, false);
});

test("NodeState leaves a damaged, cut or foreign plan aside and says why", async (t) => {
  const path = directory(t);
  await (
    await new NodeState(path).savePlan(plan)
  ).durable;
  const whole = readFileSync(join(path, "plan"), "utf8");
  const spoilt = [
    "",
    "garbage",
    whole.slice(0, -1),
    whole.replace("exact", "exalt"),
    whole.replace("bpfleet-plan 2", "bpfleet-plan 0"),
    `${whole} `,
  ];
  for (const text of spoilt) {
    writeFileSync(join(path, "plan"), text);
    const loaded = await new NodeState(path).load();
    assert.equal(loaded.plan, undefined);
    assert.match(loaded.unusable[0] ?? "", /^read .*\/plan: /);
  }
  assert.equal(spoilt.length, new Set(spoilt).size);
});

test("NodeState takes a damaged mark of the pause for a pause", async (t) => {
  const path = directory(t);
  writeFileSync(join(path, "paused"), "\0\0");
  assert.equal((await new NodeState(path).load()).isPaused, true);
});

test("NodeState writes a plan again only when something in it differs", async (t) => {
  const path = directory(t);
  const state = new NodeState(path);
  const inode = () => statSync(join(path, "plan")).ino;
  await state.savePlan(plan);
  const first = inode();
  await state.savePlan(plan);
  await state.savePlan(structuredClone(plan));
  assert.equal(inode(), first);
  for (const other of [
    {
      ...plan,
      maps: plan.maps.map((map) => ({ ...map, contents: { ...map.contents, digest: "d2" } as typeof map.contents })),
    },
    { ...plan, hooks: [{ key: "xdp/a", point: { hook: "xdp" as const, interface: "a" }, members: [] }] },
  ]) {
    const before = inode();
    await state.savePlan(other);
    assert.notEqual(inode(), before);
    assert.deepEqual((await new NodeState(path).load()).plan?.hooks, other.hooks);
  }
});

test("renderPlan leaves long lists of rules out, and nothing else", () => {
  const owner = { group: "g", kind: "K", namespace: "n", name: "a" };
  const rules = Array.from({ length: keptRules + 1 }, (_, index) => ({
    index,
    id: `${index}`,
    text: "t",
    origin: { object: owner, path: "" },
  }));
  const instance = { feature: "f", owner, key: "k", programs: [], maps: {}, rules, data: null };
  const kept = { ...instance, rules: rules.slice(1) };
  assert.deepEqual(parsePlan(renderPlan({ ...emptyPlan, instances: [instance, kept] })).instances, [
    { ...instance, rules: [] },
    kept,
  ]);
});

/** With sealed contents too long for the plan's own text. */
function longPlan(seal: string, byte: number): NodePlan {
  const entries = { count: 4096, keys: new Uint8Array(4096 * 4).fill(1), values: new Uint8Array(4096 * 64).fill(byte) };
  const definition = { type: "array", keySize: 4, valueSize: 64, maxEntries: 4096, flags: 0 } as const;
  const long: MapSpec = {
    key: "policy/lines",
    name: "lines",
    definition,
    contents: { kind: "sealed", digest: seal, entries },
  };
  return { ...plan, maps: [...plan.maps, long] };
}

test("NodeState keeps long contents in files of their own, once, and takes away those that no plan names", async (t) => {
  const path = directory(t);
  const state = new NodeState(path);
  const files = (): readonly string[] => readdirSync(join(path, "sealed"));
  const save = async (wanted: NodePlan): Promise<void> => (await state.savePlan(wanted)).durable;
  await save(longPlan("one", 1));
  const [first = ""] = files();
  const inode = statSync(join(path, "sealed", first)).ino;
  await save({ ...longPlan("one", 1), programs: [] });
  assert.equal(statSync(join(path, "sealed", first)).ino, inode, "what stays is not written again");
  assert.deepEqual(files(), [first]);
  assert.ok(statSync(join(path, "plan")).size < 10_000);

  const loaded = await new NodeState(path).load();
  assert.deepEqual(loaded.plan?.maps.at(-1)?.contents, longPlan("one", 1).maps.at(-1)?.contents);
  await save(longPlan("two", 2));
  await save(longPlan("three", 3));
  assert.equal(files().includes(first), false);
  assert.deepEqual(
    (await new NodeState(path).load()).plan?.maps.at(-1)?.contents,
    longPlan("three", 3).maps.at(-1)?.contents,
  );
  await save(plan);
  await save({ ...plan, programs: [] });
  assert.deepEqual(files(), []);
});

test("NodeState leaves a plan aside whose files are gone or damaged", async (t) => {
  const path = directory(t);
  await (
    await new NodeState(path).savePlan(longPlan("one", 1))
  ).durable;
  const [name = ""] = readdirSync(join(path, "sealed"));
  const file = join(path, "sealed", name);
  const whole = readFileSync(file);
  for (const spoil of [() => writeFileSync(file, whole.subarray(0, -1)), () => rmSync(file)]) {
    spoil();
    const loaded = await new NodeState(path).load();
    assert.equal(loaded.plan, undefined);
    assert.match(loaded.unusable[0] ?? "", /^read .*\/plan: /);
  }
});

test("NodeState goes back to no plan that the kernel is ahead of, as long as there are the pins", async (t) => {
  const path = directory(t);
  const pins = directory(t);
  const state = new NodeState(path, pins);
  await (
    await state.savePlan(longPlan("one", 1))
  ).durable;
  const files = readdirSync(join(path, "sealed"));
  const spoilt = { ...longPlan("two", 2), hooks: [{ key: "xdp/a" } as NodePlan["hooks"][number]] };
  const circular = { ...spoilt, instances: [{ rules: [], data: {} }] as unknown as NodePlan["instances"] };
  Object.assign(circular.instances[0]?.data as object, { itself: circular });
  await assert.rejects(state.savePlan(circular), /circular/i);
  assert.deepEqual(readdirSync(join(path, "sealed")), files, "nothing stays of what could not be written whole");

  const behind = await new NodeState(path, pins).load();
  assert.deepEqual([behind.plan, behind.unusable], [undefined, []]);
  assert.match(behind.ahead ?? "", /plan: what is in force is newer/);
  const rebooted = await new NodeState(path, directory(t)).load();
  assert.equal(rebooted.plan?.maps.at(-1)?.key, "policy/lines");
  assert.equal(rebooted.ahead, undefined);

  await state.savePlan(plan);
  assert.equal((await new NodeState(path, pins).load()).plan?.maps.length, 1);
  state.passOver();
  assert.equal((await new NodeState(path, pins).load()).plan, undefined);
});
