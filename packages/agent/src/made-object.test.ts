import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { Clock, ObjectRef } from "@bpfleet/base";
import { sameRef } from "@bpfleet/base";
import type { BytecodeIntent, Feature } from "@bpfleet/features";
import { renderSource } from "@bpfleet/kernel";
import { kinds, parseManifest, type KubeObject } from "@bpfleet/kinds";
import { startAgent, type Agent } from "./agent.ts";
import type { ObjectReport } from "./report.ts";
import { DirectoryStore } from "./store/directory-store.ts";
import { identify } from "./store/stored-object.ts";
import { ObedientDaemon } from "./testing/obedient-daemon.ts";

const clock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const uuid = "bdeac6d3-4128-464e-9161-6010684eca27";

/** One program with one map for each intent whose source is there. */
const bytecode: Feature<BytecodeIntent> = {
  name: "bytecode",
  passReasons: [],
  counterRoles: [],
  counters: () => assert.fail("the daemon counts"),
  plan(intents, facts) {
    const there = intents.filter(({ source }) => facts.bytecode?.[renderSource(source)]?.state === "ready");
    const keyOf = ({ origin }: BytecodeIntent): string => `bytecode/${origin.object.name}/${uuid}`;
    return {
      maps: there.map((intent) => ({
        key: `${keyOf(intent)}/maps/stats`,
        name: "stats",
        definition: { type: "array", keySize: 4, valueSize: 8, maxEntries: 1, flags: 0 },
        contents: { kind: "live" },
        pinPath: `/run/bpfd/fs/maps/${uuid}/stats`,
        owner: intent.origin.object,
      })),
      programs: there.map((intent) => ({
        key: `${keyOf(intent)}/program`,
        name: "p",
        type: "xdp",
        object: { name: "o", digest: "d" },
        entry: "p",
        globals: {},
        maps: { stats: `${keyOf(intent)}/maps/stats` },
        owner: intent.origin.object,
      })),
      attachments: there.flatMap((intent) => {
        assert.ok(intent.at.hook === "xdp" && "names" in intent.at.interfaces);
        return intent.at.interfaces.names.map((name) => ({
          point: { hook: "xdp" as const, interface: name },
          member: { program: `${keyOf(intent)}/program`, priority: intent.priority, proceedOn: intent.proceedOn },
        }));
      }),
      instances: [],
      problems: intents
        .filter((intent) => !there.includes(intent))
        .map(({ origin, source }) => {
          const facts_ = facts.bytecode?.[renderSource(source)];
          return facts_?.state === "failed"
            ? { origin, reason: facts_.reason, message: facts_.message, severity: "waiting" as const }
            : { origin, reason: "Fetching", message: "fetching", severity: "waiting" as const };
        }),
    };
  },
};

let directory: string;
let daemon: ObedientDaemon;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfleet-made-"));
  daemon = new ObedientDaemon();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const start = (): Promise<Agent> =>
  startAgent({
    store: join(directory, "objects"),
    stateDir: join(directory, "state"),
    daemon,
    features: [bytecode],
    kinds,
    clock,
  });

const configRef: ObjectRef = { group: "bpfd.io", kind: "BpfProgramConfig", namespace: "", name: "xdp-pass" };
const programRef: ObjectRef = { group: "bpfd.io", kind: "BpfProgram", namespace: "", name: "xdp-pass-node" };
const config = `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata:
  name: xdp-pass
spec:
  name: pass
  type: XDP
  nodeselector: {}
  priority: 0
  attachpoint:
    interface: eth0
  bytecode:
    image: {url: quay.io/x}
`;
const source = { from: "image", reference: "quay.io/x", pullPolicy: "IfNotPresent" } as const;

async function apply(text: string): Promise<void> {
  const store = new DirectoryStore({ directory: join(directory, "objects"), clock });
  for (const manifest of parseManifest(text, "x.yaml").objects) {
    const identity = identify(manifest);
    assert.ok("ref" in identity);
    await store.write({
      ref: identity.ref,
      value: manifest.value,
      text,
      source: { file: "x.yaml", line: 1, isRendered: false },
    });
  }
}

function ready(): void {
  const facts = {
    state: "ready",
    objectDigest: "0a",
    signature: "unsigned",
    labels: {},
    programs: [],
    maps: [],
    globals: [],
    license: "GPL",
  } as const;
  daemon.setFacts({ bytecode: { [renderSource(source)]: facts } });
}

async function find(agent: Agent, ref: ObjectRef): Promise<ObjectReport | undefined> {
  const { objects } = await agent.report();
  return objects.find((report) => sameRef(report.ref, ref));
}

function conditionsOf(object: KubeObject | undefined): readonly string[] {
  assert.ok(object !== undefined);
  const { conditions } = object.status as { conditions: readonly { type: string; message: string }[] };
  return conditions.map(({ type, message }) => `${type}: ${message}`);
}

test("startAgent hands the daemon the sources that configs name, with their Secrets", async () => {
  await apply(config.replace("{url: quay.io/x}", "{url: quay.io/x, imagepullsecret: regcred}"));
  await using agent = await start();
  assert.deepEqual(daemon.sources, [{ ...source, pullSecret: "bpfd/regcred" }]);
  assert.deepEqual(daemon.secrets, {});
  const auths = '{"auths":{}}';
  await apply(
    `apiVersion: v1\nkind: Secret\nmetadata: {name: regcred, namespace: kube-system}\nstringData: {.dockerconfigjson: '${auths}', other: x}\n`,
  );
  await agent.sync();
  assert.deepEqual(daemon.sources, [{ ...source, pullSecret: "kube-system/regcred" }]);
  assert.deepEqual(daemon.secrets, {
    "kube-system/regcred": { ".dockerconfigjson": Buffer.from(auths).toString("base64") },
  });
  await new DirectoryStore({ directory: join(directory, "objects"), clock }).remove(configRef);
  await agent.sync();
  assert.deepEqual(daemon.sources, []);
});

test("startAgent makes an object of each config, and keeps what it is over restarts", async () => {
  await apply(config);
  let made: ObjectReport | undefined;
  {
    await using agent = await start();
    made = await find(agent, programRef);
    assert.deepEqual(conditionsOf(made?.object), []);
    assert.deepEqual(conditionsOf((await find(agent, configRef))?.object), [
      "NotYetLoaded: Waiting for BpfProgramConfig Object to be reconciled to all nodes",
    ]);
    ready();
    made = await find(agent, programRef);
    assert.deepEqual(made?.object.spec, {
      programs: { [uuid]: { attachpoint: { interface: "eth0" }, maps: { stats: `/run/bpfd/fs/maps/${uuid}/stats` } } },
    });
    assert.deepEqual(conditionsOf(made?.object), ["Loaded: Successfully loaded BpfProgram"]);
    assert.deepEqual(made?.madeFrom, configRef);
    const owner = await find(agent, configRef);
    assert.deepEqual(made?.object.metadata.ownerReferences?.[0]?.uid, owner?.object.metadata.uid);
    assert.deepEqual(conditionsOf(owner?.object), [
      "NotYetLoaded: Waiting for BpfProgramConfig Object to be reconciled to all nodes",
      "ReconcileSuccess: bpfProgramReconciliation Succeeded on all nodes",
    ]);
    await agent.sync();
  }
  const stored = join(directory, "state/status/bpfd.io/BpfProgram/_/xdp-pass-node.json");
  const before = readFileSync(stored, "utf8");
  {
    await using agent = await start();
    const again = await find(agent, programRef);
    assert.equal(again?.object.metadata.uid, made?.object.metadata.uid);
    assert.equal(again?.object.metadata.creationTimestamp, made?.object.metadata.creationTimestamp);
    // Not with the last report: a report may be older than the record that was written at the end.
    const kept = JSON.parse(before) as { readonly made: { readonly object: KubeObject }; readonly status: unknown };
    assert.deepEqual(again?.object, { ...kept.made.object, status: kept.status });
  }
  assert.equal(readFileSync(stored, "utf8"), before);
});

test("startAgent tells the generation of a made object that is stored, and never one twice", async () => {
  await apply(config);
  const stored = join(directory, "state/status/bpfd.io/BpfProgram/_/xdp-pass-node.json");
  const kept = (): KubeObject["metadata"] =>
    (JSON.parse(readFileSync(stored, "utf8")) as { made: { object: KubeObject } }).made.object.metadata;
  const seen = new Map<number, unknown>();
  for (let turn = 0; turn < 3; turn++) {
    await using agent = await start();
    for (const change of [() => daemon.setFacts({ bytecode: {} }), ready, () => daemon.setFacts({ bytecode: {} })]) {
      change();
      const made = await find(agent, programRef);
      const { generation = 0, resourceVersion } = made?.object.metadata ?? {};
      assert.deepEqual([kept().generation, kept().resourceVersion], [generation, resourceVersion]);
      const spec = seen.get(generation) ?? made?.object.spec;
      assert.deepEqual(made?.object.spec, spec, "one generation is one spec");
      seen.set(generation, spec);
    }
  }
  assert.deepEqual([...seen.keys()], [1, 2, 3, 4, 5, 6, 7]);
});

test("startAgent removes a made object with its config, and a new config has a new one", async () => {
  await apply(config);
  ready();
  await using agent = await start();
  const first = await find(agent, programRef);
  const store = new DirectoryStore({ directory: join(directory, "objects"), clock });
  await store.remove(configRef);
  await agent.sync();
  assert.equal(await find(agent, programRef), undefined);
  const stored = join(directory, "state/status/bpfd.io/BpfProgram/_/xdp-pass-node.json");
  for (let tries = 0; existsSync(stored) && tries < 200; tries++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(existsSync(stored), false);
  await apply(config);
  await agent.sync();
  const second = await find(agent, programRef);
  assert.notEqual(second?.object.metadata.uid, first?.object.metadata.uid);
});

test("startAgent tells of a config that is removed and stays in the kernel, over restarts, until it is gone", async () => {
  await apply(config);
  ready();
  const store = new DirectoryStore({ directory: join(directory, "objects"), clock });
  const messages = async (agent: Agent): Promise<readonly (readonly string[])[]> => [
    conditionsOf((await find(agent, programRef))?.object),
    conditionsOf((await find(agent, configRef))?.object),
  ];
  const expected = [
    [
      "Cause: detach xdp/eth0: read-only file system (EROFS)",
      "Loaded: Successfully loaded BpfProgram",
      "NotUnLoaded: Failed to unload bpfProgram",
    ],
    [
      "Cause: detach xdp/eth0: read-only file system (EROFS)",
      "NotYetLoaded: Waiting for BpfProgramConfig Object to be reconciled to all nodes",
      "ReconcileSuccess: bpfProgramReconciliation Succeeded on all nodes",
      "DeleteError: bpfProgramConfig Deletion failed on the following bpfProgram Objects: [xdp-pass-node]",
    ],
  ];
  const stored = join(directory, "state/status/bpfd.io/BpfProgram/_/xdp-pass-node.json");
  let since: string | undefined;
  {
    await using agent = await start();
    await agent.sync();
    for (let tries = 0; !existsSync(stored) && tries < 200; tries++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    daemon.keepsPrograms = true;
    await store.remove(configRef);
    await agent.sync();
    assert.deepEqual(await messages(agent), expected);
    const made = await find(agent, programRef);
    assert.equal(made?.state, "failed");
    assert.deepEqual(made.object.metadata.finalizers, ["bpfd.io.agent/finalizer"]);
    since = made.object.metadata.deletionTimestamp;
    assert.match(since ?? "", /^\d{4}-/);
  }
  {
    await using agent = await start();
    assert.deepEqual(await messages(agent), expected);
    assert.equal((await find(agent, programRef))?.object.metadata.deletionTimestamp, since);
    daemon.keepsPrograms = false;
    assert.equal(await find(agent, programRef), undefined);
    assert.equal(await find(agent, configRef), undefined);
    await apply(config);
    await agent.sync();
    assert.equal(
      conditionsOf((await find(agent, programRef))?.object).at(-1),
      "Loaded: Successfully loaded BpfProgram",
    );
  }
});

test("startAgent tells the cause beside the fixed message", async () => {
  await apply(config);
  await using agent = await start();
  daemon.setFacts({
    bytecode: {
      [renderSource(source)]: {
        state: "failed",
        reason: "ImageNotFound",
        message: "pull quay.io/x: not found",
      },
    },
  });
  const made = await find(agent, programRef);
  assert.deepEqual(conditionsOf(made?.object), [
    "Cause: pull quay.io/x: not found",
    "NotLoaded: Failed to load bpfProgram",
  ]);
  ready();
  assert.deepEqual(
    conditionsOf((await find(agent, programRef))?.object).at(-1),
    "Loaded: Successfully loaded BpfProgram",
  );
});

test("startAgent unloads and loads with the labels of the node", async () => {
  await apply(config.replace("nodeselector: {}", "nodeselector: {matchLabels: {deploy-ebpf: 'true'}}"));
  ready();
  await using agent = await start();
  assert.equal(daemon.plan.programs.length, 0);
  assert.deepEqual(daemon.sources, []);
  const made = await find(agent, programRef);
  assert.deepEqual(conditionsOf(made?.object), ["NotSelected: This node is not selected to run the bpfProgram"]);
  assert.equal(made?.object.metadata.finalizers, undefined);
  await apply(`apiVersion: v1\nkind: Node\nmetadata: {name: node, labels: {deploy-ebpf: "true"}}\n`);
  await agent.sync();
  assert.equal(daemon.plan.programs.length, 1);
  assert.deepEqual((await find(agent, programRef))?.object.metadata.finalizers, ["bpfd.io.agent/finalizer"]);
  daemon.setFacts({ labels: { "deploy-ebpf": "false" } });
  await agent.report();
  assert.equal(daemon.plan.programs.length, 1, "the Node object says otherwise");
});

test("startAgent takes no object that it makes itself from a file", async () => {
  await apply(`apiVersion: bpfd.io/v1alpha1\nkind: BpfProgram\nmetadata: {name: x}\nspec: {programs: {}}\n`);
  await using agent = await start();
  const report = await find(agent, { ...programRef, name: "x" });
  assert.equal(report?.state, "failed");
  assert.match(
    report?.messages[0] ?? "",
    /BpfProgram objects are made of BpfProgramConfig objects, nobody writes them; remove/,
  );
});
