import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Origin } from "@bpfleet/base";
import type { ItemResult, NodePlan, PlanProblem } from "@bpfleet/kernel";
import { emptyPlan } from "@bpfleet/kernel";
import type { KubeObject, Outcome } from "../../kind.ts";
import { findKind } from "../../kinds.ts";
import { outcome } from "../../testing/outcomes.ts";
import { readAll } from "../../testing/read-all.ts";
import { renderYaml } from "../../yaml/render-yaml.ts";

const uuid = "bdeac6d3-4128-464e-9161-6010684eca27";
const nodeName = "bpfd-deployment-worker2";

interface Scene {
  readonly config: KubeObject;
  readonly plan: NodePlan;
  readonly items: readonly ItemResult[];
  status(fields?: Partial<Outcome>, atSeconds?: number): KubeObject;
  made(fields?: Partial<Outcome>, atSeconds?: number): KubeObject;
  problem(severity: PlanProblem["severity"], reason: string, message: string): PlanProblem;
}

/** A config with a plan in which it is loaded and attached. */
function sceneOf(text: string): Scene {
  const [parsed] = readAll(text).parsed;
  assert.ok(parsed !== undefined);
  const { object: config, ref } = parsed;
  const kind = findKind(config.apiVersion, config.kind);
  assert.ok(kind !== undefined);
  const key = `bytecode/${ref.name}/${uuid}`;
  const [map, program, hook] = [`${key}/maps/stats`, `${key}/program`, "xdp/eth0"];
  const definition = { type: "array", keySize: 4, valueSize: 8, maxEntries: 1, flags: 0 } as const;
  const object = { name: "o", digest: "d" };
  const plan: NodePlan = {
    ...emptyPlan,
    maps: [
      {
        key: map,
        name: "stats",
        definition,
        contents: { kind: "live" },
        pinPath: `/run/bpfd/fs/maps/${uuid}/stats`,
        owner: ref,
      },
    ],
    programs: [
      { key: program, name: "p", type: "xdp", object, entry: "p", globals: {}, maps: { stats: map }, owner: ref },
    ],
    hooks: [
      { key: hook, point: { hook: "xdp", interface: "eth0" }, members: [{ program, priority: 0, proceedOn: [2] }] },
    ],
  };
  const items: readonly ItemResult[] = [
    { item: "map", key: map, state: "in-force" },
    { item: "program", key: program, state: "in-force" },
    { item: "hook", key: hook, state: "in-force" },
  ];
  const become = (fields: Partial<Outcome>, at: number): Outcome => outcome({ nodeName, plan, items, ...fields }, at);
  const origin: Origin = { object: ref, path: "/spec" };
  return {
    config,
    plan,
    items,
    status: (fields = {}, at = 0) => ({ ...config, status: kind.status(parsed, become(fields, at)) }),
    made: (fields = {}, at = 0) => {
      const [only, ...more] = kind.generate(parsed, () => become(fields, at));
      assert.ok(only !== undefined && more.length === 0);
      return only;
    },
    problem: (severity, reason, message) => ({ origin, severity, reason, message }),
  };
}

function sample(file: string): string {
  return readFileSync(`${import.meta.dirname}/../${file}/samples/xdp-pass-all-nodes.yaml`, "utf8");
}

/** `Loaded bpfdLoaded: Successfully loaded ebpfProgram`. */
function said(object: KubeObject): readonly string[] {
  const { conditions } = object.status as { conditions: readonly Record<string, string>[] };
  assert.ok(conditions.every(({ status }) => status === "True"));
  return conditions.map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
}

/** Every key of a value with its value, without what differs from object to object. */
function shape(value: unknown, path = ""): readonly string[] {
  if (typeof value !== "object" || value === null)
    return [/(Timestamp|Time|uid|generation|resourceVersion)$/.test(path) ? path : `${path}=${String(value)}`];
  const inner = Object.entries(value).flatMap(([key, field]) => shape(field, `${path}/${key}`));
  return inner.length === 0 ? [path] : inner.toSorted();
}

const outputs = [
  ["bpfprogramconfig", "bpfprogram"],
  ["ebpfprogramconfig", "bpfdebpfprogram"],
] as const;

test("makeProgram gives what the documents print, key by key", () => {
  for (const [config, program] of outputs) {
    const scene = sceneOf(sample(config));
    const plan = {
      ...scene.plan,
      maps: [],
      programs: scene.plan.programs.map((each) => ({ ...each, maps: {} })),
    };
    const made = scene.made({ plan });
    const given = { uid: "u", creationTimestamp: "t", generation: 2, resourceVersion: "1506" };
    const owners = made.metadata.ownerReferences?.map((owner) => ({ ...owner, uid: "o" }));
    const whole = { ...made, metadata: { ...made.metadata, ...given, ownerReferences: owners } };
    const [document] = readAll(sample(program)).parsed;
    assert.deepEqual(shape(whole), shape(document?.object));
    const lines = (text: string): readonly string[] =>
      text.split("\n").map((line) => line.replace(/(Timestamp|Time|uid|resourceVersion): .*/, "$1:"));
    assert.deepEqual(lines(renderYaml(whole)), lines(sample(program)));
  }
});

test("makeProgram lists the pins of maps, and of later forms node and type", () => {
  const first = sceneOf(sample("bpfprogramconfig"));
  const maps = { stats: `/run/bpfd/fs/maps/${uuid}/stats` };
  assert.deepEqual(first.made().spec, { programs: { [uuid]: { attachpoint: { interface: "eth0" }, maps } } });
  const later = sceneOf(
    sample("bpfprogramconfig")
      .replace("  priority: 0\n", "")
      .replace("interface: eth0", "networkmultiattach: {interface: eth0, priority: 3}"),
  );
  assert.deepEqual(later.made().spec, {
    programs: {
      [uuid]: { attachpoint: { networkmultiattach: { interface: "eth0", priority: 3, direction: "NONE" } }, maps },
    },
    node: nodeName,
    type: "XDP",
  });
  assert.deepEqual(said(later.made()), ["Loaded bpfdLoaded: Successfully loaded bpfProgram"]);
  assert.deepEqual(first.made({ items: [] }).spec, { programs: {} });
});

test("makeProgram says nothing while nothing is known, and the cause when something is wrong", () => {
  const scene = sceneOf(sample("bpfprogramconfig"));
  const fetching = [scene.problem("waiting", "Fetching", "fetching")];
  assert.deepEqual(said(scene.made({ plan: emptyPlan, items: [], problems: fetching })), []);
  const slow = [scene.problem("waiting", "FetchingSlowly", "still fetching q.io/a:b after 15 s: 1 of 2 bytes")];
  assert.deepEqual(said(scene.made({ plan: emptyPlan, items: [], problems: slow })), [
    "Cause FetchingSlowly: still fetching q.io/a:b after 15 s: 1 of 2 bytes",
  ]);
  const lost = [scene.problem("waiting", "InterfaceNotFound", "Invalid Interface: eth0")];
  assert.deepEqual(said(scene.made({ problems: lost })), [
    "Cause InterfaceNotFound: Invalid Interface: eth0",
    "NotLoaded bpfdNotLoaded: Failed to load bpfProgram",
  ]);
  const hookResult = { mode: "native", chain: "direct", memberModes: ["stub"] } as const;
  const programKey = scene.plan.programs[0]?.key ?? "";
  const failed = scene.items.map((item) =>
    item.item === "program"
      ? { ...item, state: "failed" as const, error: { code: "verifier" as const, message: "load p: R1 invalid" } }
      : item,
  );
  assert.deepEqual(said(scene.made({ items: failed })), [
    "Cause VerifierRejected: load p: R1 invalid",
    "NotLoaded bpfdNotLoaded: Failed to load bpfProgram",
  ]);
  const kept = failed.map((item) =>
    item.item === "hook" ? { ...item, state: "withheld" as const, hook: hookResult, earlier: [programKey] } : item,
  );
  assert.deepEqual(said(scene.made({ items: kept })), [
    "Cause VerifierRejected: load p: R1 invalid",
    "Note EarlierInForce: until it loads the earlier program goes on, with its maps, on xdp/eth0",
    "NotLoaded bpfdNotLoaded: Failed to load bpfProgram",
  ]);
  const ofOthers = kept.map((item) => (item.item === "hook" ? { ...item, earlier: ["bytecode/other/program"] } : item));
  assert.deepEqual(said(scene.made({ items: ofOthers })), said(scene.made({ items: failed })));
  assert.match(said(scene.made({ isPaused: true }))[0] ?? "", /^Cause Paused: everything is detached/);
  const old = sceneOf(sample("ebpfprogramconfig"));
  assert.deepEqual(said(old.made({ problems: [old.problem("refused", "X", "y")] })), [
    "Cause X: y",
    "NotLoaded bpfdNotLoaded: Failed to load ebpfProgram",
  ]);
});

test("makeProgram keeps every type that was true, the current one last, and its time while it is current", () => {
  const scene = sceneOf(sample("bpfprogramconfig"));
  const lost = [scene.problem("waiting", "InterfaceNotFound", "no eth0")];
  const time = (object: KubeObject, type: string): string | undefined =>
    (object.status as { conditions: readonly Record<string, string>[] }).conditions.find(
      (each) => each["type"] === type,
    )?.["lastTransitionTime"];
  const loaded = scene.made({}, 0);
  const still = scene.made({ previousStatus: loaded.status }, 60);
  assert.deepEqual(still.status, loaded.status);
  const gone = scene.made({ previousStatus: still.status, problems: lost }, 120);
  assert.deepEqual(
    said(gone).map((text) => text.split(" ")[0]),
    ["Cause", "Loaded", "NotLoaded"],
  );
  assert.equal(time(gone, "Loaded"), time(loaded, "Loaded"));
  const back = scene.made({ previousStatus: gone.status }, 180);
  assert.deepEqual(
    said(back).map((text) => text.split(" ")[0]),
    ["NotLoaded", "Loaded"],
  );
  assert.notEqual(time(back, "Loaded"), time(loaded, "Loaded"));
});

test("makeProgram tells notes beside, and mistakes in a config that stays in force as it was", () => {
  const scene = sceneOf(sample("bpfprogramconfig"));
  const note = scene.problem("note", "MapChanged", "map stats changed: size 16 → 24");
  const loaded = "Loaded bpfdLoaded: Successfully loaded BpfProgram";
  assert.deepEqual(said(scene.made({ problems: [note] })), [`Note MapChanged: ${note.message}`, loaded]);
  const spoilt = scene.problem("refused", "Invalid", "spec.type: must be one of XDP");
  assert.deepEqual(said(scene.made({ problems: [spoilt] })), [`Cause Invalid: ${spoilt.message}`, loaded]);
});

test("makeProgram is for a node that is not selected too, without a finalizer", () => {
  const scene = sceneOf(sample("bpfprogramconfig"));
  const problems = [scene.problem("note", "nodeNotSelected", "it has no label")];
  const made = scene.made({ plan: emptyPlan, items: [], problems });
  assert.deepEqual(said(made), ["NotSelected nodeNotSelected: This node is not selected to run the bpfProgram"]);
  assert.equal(made.metadata.finalizers, undefined);
  assert.deepEqual(made.spec, { programs: {} });
});

test("configStatus goes from NotYetLoaded to success or failure, and keeps both", () => {
  const scene = sceneOf(sample("ebpfprogramconfig"));
  const waiting =
    "NotYetLoaded ProgramsNotYetLoaded: Waiting for EbpfProgramConfig Object to be reconciled to all nodes";
  const begun = scene.status({ plan: emptyPlan, items: [] });
  assert.deepEqual(said(begun), [waiting]);
  const done = scene.status({ previousStatus: begun.status });
  assert.deepEqual(said(done), [
    waiting,
    "ReconcileSuccess ReconcileSuccess: ebpfProgramReconciliation Succeeded on all nodes",
  ]);
  assert.deepEqual(said(scene.status()), said(done));
  const lost = [scene.problem("refused", "SectionNotFound", "Unable to find a valid program with section name pass")];
  assert.deepEqual(said(scene.status({ previousStatus: begun.status, problems: lost })), [
    "Cause SectionNotFound: Unable to find a valid program with section name pass",
    waiting,
    `ReconcileError ReconcileError: ebpfProgramReconciliation failed on the following ebpfProgram Objects: [xdp-pass-all-nodes-${nodeName}]`,
  ]);
});

test("programName is a name that an object can have, whatever the node is called", () => {
  const scene = sceneOf(sample("bpfprogramconfig"));
  assert.equal(scene.made({ nodeName: "My_Laptop." }).metadata.name, "xdp-pass-all-nodes-my-laptop");
  const long = scene.made({ nodeName: "n".repeat(300) }).metadata.name;
  assert.ok(long.length === 253 && long !== scene.made({ nodeName: "n".repeat(301) }).metadata.name);
});

test("makeProgram keeps to what an API server takes, however long a config is called", () => {
  const text = sample("bpfprogramconfig");
  const made = (name: string): KubeObject => sceneOf(text.replace("name: xdp-pass-all-nodes", `name: ${name}`)).made();
  const [label, long] = ["a".repeat(63), "a".repeat(64)];
  assert.equal(made(label).metadata.labels?.["owningConfig"], label);
  const cut = made(long).metadata;
  assert.match(cut.labels?.["owningConfig"] ?? "", /^a{48}-[0-9a-f]{14}$/);
  assert.notEqual(cut.labels?.["owningConfig"], made(`${long}a`).metadata.labels?.["owningConfig"]);
  assert.equal(cut.ownerReferences?.[0]?.name, long);
  const { name } = made(`${"a".repeat(237)}.${"b".repeat(10)}`).metadata;
  assert.match(name, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
  assert.ok(name.length <= 253);
});
