import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startClusterAgent, type Agent, type ClusterAgentOptions } from "@bpfleet/agent";
import { ObedientDaemon } from "@bpfleet/agent/testing";
import { features } from "@bpfleet/features";
import type { Inventory } from "@bpfleet/kernel";
import {
  collectionOf,
  fleetIndexPlace,
  kinds,
  parseFleetIndex,
  renderFleetIndex,
  type NodeState,
} from "@bpfleet/kinds";
import type { AnyObject, ResourceAddress } from "@bpfleet/kube";
import { systemTiming, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { nodeObject, startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";

const skip = whyNoBuild();
const lingerMs = 1500;
const declared = { group: "networking.fos1.io", version: "v1alpha1", namespace: "default" } as const;
const programs = { ...declared, plural: "ebpfprograms" };
const maps = { ...declared, plural: "ebpfmaps" };
const index = { group: "", version: "v1", plural: "configmaps", ...fleetIndexPlace } as const;
let cluster: FleetCluster;
let running: RunningOperator | undefined;
let own: KubeClient | undefined;
/** Of an agent that may write what it has to say. */
const clientOfNode = (): KubeClient => (own ??= cluster.agentOn("n1"));

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  await cluster.admin.create<AnyObject>({ group: "", version: "v1", plural: "nodes" }, nodeObject("n1"));
  running = await cluster.startOperator({ indexLingerMs: lingerMs });
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

class NodeDaemon extends ObedientDaemon {
  version() {
    return { version: "0", kernel: "0", node: "0", libbpf: "0" };
  }
  async inventory(): Promise<Inventory> {
    return { programs: [], maps: [], links: [] };
  }
}

/** The client, and the collections that are watched over it at the moment. */
function counted(client: KubeClient): { readonly client: KubeClient; watched(): string[] } {
  const open = new Map<object, string>();
  const readEvents: KubeClient["readEvents"] = async (address, query) => {
    const watch = {};
    const onOpen = (): void => {
      open.set(watch, address.plural);
      query.onOpen?.();
    };
    try {
      return await client.readEvents(address, { ...query, onOpen });
    } finally {
      open.delete(watch);
    }
  };
  const proxied = new Proxy(client, {
    get: (target, name) => {
      if (name === "readEvents") return readEvents;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  return { client: proxied, watched: () => [...open.values()].toSorted() };
}

interface SimulatedAgent extends AsyncDisposable {
  watched(): string[];
  /** Names of what it had planned for at its first report, and now. */
  readonly first: readonly string[];
  planned(): readonly string[];
}

async function startAgent(
  lookMs = 3_600_000,
  {
    client: own,
    ...rest
  }: Partial<Pick<ClusterAgentOptions, "client" | "version" | "kinds" | "timing" | "refreshMs">> = {},
): Promise<SimulatedAgent> {
  const { client, watched } = counted(own ?? cluster.clientOf("bpfd-daemon"));
  let first: readonly string[] | undefined;
  let planned: readonly string[] = [];
  const agent: Agent = await startClusterAgent({
    client,
    nodeName: "n1",
    version: "0",
    kinds,
    features,
    clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
    follow: { cilium: true, calico: true },
    daemon: new NodeDaemon(),
    lookMs,
    onReports: ({ reports }) => {
      planned = reports.filter(({ ref }) => ref.group === declared.group).map(({ ref }) => ref.name);
      first ??= planned;
    },
    ...rest,
  });
  await until("it has reported", () => first);
  return {
    watched,
    get first() {
      return first ?? [];
    },
    planned: () => planned,
    [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose](),
  };
}

const has = (agent: SimulatedAgent, name: string) => () => agent.planned().includes(name) || undefined;

async function named(): Promise<readonly string[]> {
  const found = await cluster.admin.find<AnyObject>(index);
  return [...(parseFleetIndex(found?.["data"])?.collections ?? [])];
}

function declare(type: ResourceAddress, kind: string, name: string, spec: object): Promise<AnyObject> {
  const object = { apiVersion: "networking.fos1.io/v1alpha1", kind, metadata: { name, namespace: "default" }, spec };
  return cluster.admin.create<AnyObject>(type, object);
}

const map = { type: "hash", keySize: 4, valueSize: 4, maxEntries: 8 };
const program = { type: "xdp", interface: "eth0" };

test(
  "an agent follows its node, the index, and kinds with objects; the first of a kind reaches it at once",
  { skip },
  async (t) => {
    await declare(programs, "EBPFProgram", "p", program);
    await until(
      "the index names it",
      async () => (await named()).includes("ebpfprograms.networking.fos1.io") || undefined,
    );
    await using agent = await startAgent();
    assert.deepEqual(agent.first, ["p"]);
    assert.deepEqual(agent.watched(), ["configmaps", "ebpfprograms", "nodes", "pods"]);
    const begin = performance.now();
    await declare(maps, "EBPFMap", "m", map);
    const since = (): string => `${(performance.now() - begin).toFixed(0)} ms`;
    await until("the index names it", async () => (await named()).includes("ebpfmaps.networking.fos1.io") || undefined);
    t.diagnostic(`the index named it after ${since()}`);
    await until("it is watched", () => agent.watched().includes("ebpfmaps") || undefined);
    t.diagnostic(`it was watched after ${since()}`);
    await until("it is planned", has(agent, "m"));
    const ms = performance.now() - begin;
    t.diagnostic(`the first object of a kind: ${ms.toFixed(0)} ms until it was planned and reported`);
    assert.ok(ms < 10_000, `${ms} ms`);
    assert.ok(agent.watched().includes("ebpfmaps"));
    await cluster.admin.delete({ ...maps, name: "m" });
    await until("it is left", () => !agent.watched().includes("ebpfmaps") || undefined);
    assert.deepEqual(agent.planned(), ["p"]);
  },
);

test("the agent of a quiet node writes its NodeState again when somebody removes or empties it", { skip }, async () => {
  const states = { group: "bpfleet.io", version: "v1alpha1", plural: "nodestates", name: "n1" } as const;
  await using _agent = await startAgent(undefined, { client: clientOfNode(), refreshMs: 300 });
  const told = async (): Promise<NodeState | undefined> => {
    const found = (await cluster.admin.find<AnyObject>(states)) as NodeState | undefined;
    return (found?.status?.results?.length ?? 0) > 0 ? found : undefined;
  };
  const first = await until("it tells of the program", told);
  await cluster.admin.delete(states);
  const again = await until("it is there again", told);
  assert.notEqual(again.metadata.uid, first.metadata.uid);
  assert.deepEqual(again.metadata.ownerReferences, first.metadata.ownerReferences);
  await cluster.admin.patch(states, { status: { results: null } }, { type: "merge", subresource: "status" });
  const { metadata } = await until("its results are there again", told);
  await sleep(1500);
  assert.equal((await told())?.metadata.resourceVersion, metadata.resourceVersion, "it is written no more");
});

test("edits of the index are undone", { skip }, async () => {
  await cluster.admin.patch(index, { data: { collections: "", nodes: "7" } }, { type: "merge" });
  await until("it is as before", async () => (await named()).length > 0 || undefined);
  await cluster.admin.delete(index);
  await until("it is there again", async () => (await named()).length > 0 || undefined);
});

test(
  "an agent of an earlier version serves the kinds and fields that it knows; the status says what it does not",
  { skip },
  async () => {
    const crd = "crd/ebpfprograms.networking.fos1.io";
    const path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/later";
    const edit = (change: object): string =>
      cluster.server.kubectl(["patch", crd, "--type=json", "-p", JSON.stringify([{ path, ...change }])]);
    const told = async (type: ResourceAddress, name: string): Promise<string> => {
      const { status } = await cluster.admin.get<AnyObject & { status?: { nodes?: object; conditions?: object[] } }>({
        ...type,
        name,
      });
      return JSON.stringify([status?.nodes, status?.conditions]);
    };
    edit({ op: "add", value: { type: "string" } });
    const earlier = kinds.filter(({ kind }) => kind !== "EBPFMap");
    const client = clientOfNode();
    await using agent = await startAgent(300, { client, version: "0.0.1", kinds: earlier });
    // The API server may take a moment to keep the field.
    await until("the field is kept", async () => {
      const { spec } = await declare(programs, "EBPFProgram", "newer", { ...program, later: "x" });
      if (JSON.stringify(spec).includes("later")) return true;
      await cluster.admin.delete({ ...programs, name: "newer" });
      return undefined;
    });
    await declare(maps, "EBPFMap", "unknown", map);
    await until("it is planned", has(agent, "newer"));
    await until(
      "it is ready",
      async () => (await told(programs, "newer")).includes('{"ready":1,"total":1}') || undefined,
    );
    await until("it is not", async () => (await told(maps, "unknown")).includes("not yet: n1") || undefined);
    const { status } = await cluster.admin.get<AnyObject & { status?: { versions?: { agent?: string } } }>({
      group: "bpfleet.io",
      version: "v1alpha1",
      plural: "nodestates",
      name: "n1",
    });
    assert.equal(status?.versions?.agent, "0.0.1");
    await cluster.admin.delete({ ...programs, name: "newer" });
    await cluster.admin.delete({ ...maps, name: "unknown" });
    await until("it is planned no more", () => !agent.planned().includes("newer") || undefined);
    edit({ op: "remove" });
  },
);

test(
  "while no operator is there an agent finds what the index does not name: all before its first plan, then now and then",
  { skip },
  async () => {
    await running?.[Symbol.asyncDispose]();
    running = undefined;
    await cluster.admin.patch(index, { data: { collections: "" } }, { type: "merge" });
    await using agent = await startAgent(300);
    assert.deepEqual(agent.first, ["p"]);
    assert.ok(!agent.watched().includes("ebpfmaps"));
    await declare(maps, "EBPFMap", "late", map);
    await until("it is planned", has(agent, "late"));
  },
);

test("an agent that asked for a kind in vain follows it as soon as the index names it", { skip }, async () => {
  const { kubectl } = cluster.server;
  const crd = "ebpfmaps.networking.fos1.io";
  await cluster.admin.delete(index);
  kubectl(["delete", `crd/${crd}`]);
  // Whoever asks in vain waits for ever after the third time.
  let [isWaiting, isPast] = [false, false];
  const timing: Timing = {
    ...systemTiming,
    sleep: async (ms, signal) => {
      if (isPast || ms < 2000 || ms > 4000) return systemTiming.sleep(ms, signal);
      isWaiting = true;
      const { promise, resolve } = Promise.withResolvers<void>();
      signal?.addEventListener("abort", () => resolve(), { once: true });
      if (signal?.aborted !== true) await promise;
    },
  };
  // There is no index: it follows both, and the server knows the other.
  const two = kinds.filter(({ kind }) => kind === "EBPFMap" || kind === "EBPFProgram");
  await using agent = await startAgent(3_600_000, { timing, kinds: two });
  await until("it waits", () => isWaiting || undefined);
  assert.ok(!agent.watched().includes("ebpfmaps"));
  const definition = kinds.find(({ kind }) => kind === "EBPFMap")?.crd();
  kubectl(["apply", "-f", "-"], JSON.stringify(definition));
  kubectl(["wait", "--for=condition=Established", "--timeout=60s", `crd/${crd}`]);
  await until("it can be declared", () => declare(maps, "EBPFMap", "late", map).catch(() => undefined));
  assert.ok(!agent.watched().includes("ebpfmaps"));
  isPast = true;
  const data = renderFleetIndex({ collections: new Set(kinds.map(collectionOf)), nodes: 1 });
  const { namespace, name } = fleetIndexPlace;
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data };
  await cluster.admin.create<AnyObject>(index, object);
  await until("it is planned", has(agent, "late"));
});

test("without an index, or the right to read it, an agent follows every kind", { skip }, async () => {
  const all = ["bpfprogramconfigs", "ebpfmaps", "ebpfprogramconfigs", "ebpfprograms", "networkpolicies"];
  const follows = (agent: SimulatedAgent): boolean => all.every((plural) => agent.watched().includes(plural));
  {
    cluster.server.kubectl(["-n", "kube-system", "delete", "rolebinding", "bpfd-daemon-index"]);
    await using agent = await startAgent();
    assert.ok(follows(agent), agent.watched().join(" "));
    assert.deepEqual([...agent.first].toSorted(), ["late", "p"]);
  }
  await cluster.admin.delete(index);
  await using agent = await startAgent();
  assert.ok(follows(agent), agent.watched().join(" "));
});
