import { setTimeout as sleep } from "node:timers/promises";
import type { ChildProcess } from "node:child_process";
import { errorText } from "@bpfleet/base";
import { kinds } from "@bpfleet/kinds";
import type { ApiObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { answer, quantile, Unanswerable, type BenchContext, type BenchQuestion, type BenchResult } from "../result.ts";
import { versionOf } from "../scale/lines.ts";
import { SimulatedFleet, usageOf } from "../scale/fleet.ts";
import { declareMap, declareProgram, maps, programs, type Collection, type Declared } from "../scale/declared.ts";
import { measureAddresses } from "../scale/addresses.ts";
import { measureUnderChange } from "../scale/under-change.ts";
import { measureUnderTraffic } from "../scale/under-traffic.ts";

interface Tier {
  readonly nodes: number;
  readonly pods: number;
  /** Nodes that have an agent; the rest are only there. */
  readonly agents: number;
  /** Agents of them that are whole; the others follow and tell, and plan nothing. */
  readonly whole: number;
}

const full: readonly Tier[] = [
  { nodes: 1000, pods: 20_000, agents: 1000, whole: 20 },
  { nodes: 5000, pods: 100_000, agents: 5000, whole: 20 },
];
const quick: readonly Tier[] = [{ nodes: 50, pods: 500, agents: 50, whole: 10 }];
/** For more of them docs/guides/cluster.md gives the operator 256 MiB. */
const usualNodes = 1000;
const usualChanges = 6;
/** Each waits until the object's status speaks of all agents, which takes a minute. */
const changesOfMany = 3;
const many = 2000;
const restMs = 30_000;
/** What an agent would watch that watches each kind which may be declared or made. */
const followed = kinds.filter(({ group }) => group !== "" && group !== "bpfleet.io").length + 2;
const patienceMs = 600_000;
const asBench = { fieldManager: "bench", isForced: true };

export const question: BenchQuestion = {
  name: "scale",
  asks: "how long from an object's change to the last of many agents, and what the operator costs, with simulated nodes and pods",
  async ask(context) {
    const absence = whyNoBuild();
    if (absence !== undefined) throw new Unanswerable(absence);
    await using fleet = await SimulatedFleet.start((line) => context.progress(line));
    const results: BenchResult[] = [];
    // Told at once: what is measured later may fail, half an hour on.
    const keep = (found: readonly BenchResult[]): void => {
      for (const { name, value, unit } of found) context.progress(`${name}: ${value} ${unit}`);
      results.push(...found);
    };
    let [nodes, pods] = [0, 0];
    const operator = await fleet.startOperator(context.scratchDir);
    let [agents, whole, isMapKnown] = [0, 0, false];
    const idleWatches = await fleet.watches();
    const tiers = chosenTiers(context.isQuick);
    for (const tier of tiers) {
      await fleet.addNodes(nodes, tier.nodes);
      await fleet.addPods(pods, tier.pods, tier.nodes);
      [nodes, pods] = [tier.nodes, tier.pods];
      // Of many agents each would begin to follow the kind at once: that is measured with fewer.
      if (agents === 0 && tier.agents > many)
        await fleet.client.apply(programs, declareProgram("first", "192.0.2.0"), asBench);
      if (whole === 0 && tier.whole > 0) await fleet.startAgents("whole", 0, (whole = tier.whole));
      const others = Math.max(agents, whole);
      if (tier.agents > others) await fleet.startAgents("follower", others, tier.agents);
      agents = tier.agents;
      context.progress(`${agents} agents follow what is declared`);
      const isKindKnown = results.length > 0 || tier.agents > many;
      if (!isKindKnown) results.push(await measureFirst(fleet, tier, programs, declareProgram("first", "192.0.2.0")));
      keep(await measure(context, fleet, operator, tier, idleWatches));
      // Of another kind, once; the kind is followed from then on.
      if (isKindKnown && !isMapKnown) {
        isMapKnown = true;
        keep([await measureFirst(fleet, tier, maps, declareMap("first-map"))]);
      }
      if (agents === whole) continue;
      try {
        const busy = { name: nameOf(tier), operator, operatorMib: operatorMibOf(tier) };
        const told = (version: string): Promise<number> => statusOf(fleet.client, programs, version, agents);
        keep(await measureUnderTraffic(context, fleet, { ...busy, told }));
        // Last, since what it leaves is more than there was.
        const place = { name: nameOf(tier), operator, nodes, pods, agents: agents - whole };
        if (tier === tiers.at(-1)) keep(await measureAddresses(context, fleet, place));
      } catch (error) {
        // Too much for the API server of this machine; what was measured before it stands.
        context.progress(`${nameOf(tier)}: the rest was not measured: ${errorText(error)}`);
        return results;
      }
    }
    return results;
  },
};

/**
 * `SCALE=nodes:pods:agents:whole,…` takes the place of the usual ones, each with at least as many as the one before, and
 * as many whole agents.
 */
function chosenTiers(isQuick: boolean): readonly Tier[] {
  const { SCALE: text = "" } = process.env;
  if (text === "") return isQuick ? quick : full;
  return text.split(",").map((words) => {
    const [nodes = 0, pods = 0, agents = 0, whole = Math.min(agents, 20)] = words.split(":").map(Number);
    return { nodes, pods, agents, whole };
  });
}

/** As docs/guides/cluster.md has it. */
function operatorMibOf({ nodes }: Tier): number {
  return nodes > usualNodes ? 256 : 128;
}

/** Nodes without an agent stand in the name. */
function nameOf({ nodes, agents }: Tier): string {
  return `scale.${nodes}-nodes${agents < nodes ? `-${agents}-agents` : ""}`;
}

/** The first object of a kind: all agents begin to follow the kind. */
async function measureFirst(
  fleet: SimulatedFleet,
  tier: Tier,
  collection: Collection,
  object: Declared,
): Promise<BenchResult> {
  const { times, bareMs } = await change(fleet, tier.agents, collection, object);
  const lastSeconds = Math.max(...times) / 1000;
  return answer(
    `${nameOf(tier)}.first-of-its-kind-last-s`,
    "s",
    lastSeconds,
    "one bare watch of the kind",
    bareMs / 1000,
  );
}

interface Propagation {
  /** Milliseconds until each agent had it. */
  readonly times: readonly number[];
  /** Until the status spoke of all agents. */
  readonly toldMs: number;
  readonly bareMs: number;
}

async function change(
  fleet: SimulatedFleet,
  agents: number,
  collection: Collection,
  object: Declared,
): Promise<Propagation> {
  const { client } = fleet;
  await using watched = await WatchedVersions.start(client, collection);
  const startedAt = Date.now();
  const { metadata } = await client.apply(collection, object, asBench);
  const version = versionOf(metadata);
  const times = (await fleet.seenBy(agents, version, patienceMs)).map((time) => time - startedAt);
  const bareMs = (await watched.when(version)) - startedAt;
  const toldMs = (await statusOf(client, collection, version, agents)) - startedAt;
  return { times, toldMs, bareMs };
}

async function measure(
  context: BenchContext,
  fleet: SimulatedFleet,
  operator: ChildProcess,
  tier: Tier,
  idleWatches: number,
): Promise<readonly BenchResult[]> {
  const name = nameOf(tier);
  const seen: Propagation[] = [];
  const changes = tier.agents > many ? changesOfMany : usualChanges;
  // A new object is not a changed one.
  const edited = `scale-${tier.nodes}`;
  const added = await change(fleet, tier.agents, programs, declareProgram(edited, "192.0.2.0"));
  context.progress(
    `a new object: the last agent had it after ${Math.max(...added.times)} ms, its status told of all after ${added.toldMs} ms`,
  );
  const [writesBefore, serverBefore, operatorBefore] = [
    await fleet.writes(),
    await fleet.serverUsage(),
    usageOf(operator),
  ];
  for (let at = 1; at <= changes; at++) {
    const one = await change(fleet, tier.agents, programs, declareProgram(edited, `192.0.2.${at}`));
    seen.push(one);
    context.progress(
      `change ${at}: half of the agents had it after ${quantile(one.times, 0.5)} ms, the last after ${Math.max(...one.times)} ms, its status told of all after ${one.toldMs} ms`,
    );
  }
  const [writesAfter, serverAfter, operatorAfter] = [
    await fleet.writes(),
    await fleet.serverUsage(),
    usageOf(operator),
  ];
  const underChange = await measureUnderChange(context, fleet, {
    name,
    collection: programs,
    edit: (number) => declareProgram(edited, `198.51.100.${number % 256}`),
    told: (version) => statusOf(fleet.client, programs, version, tier.agents),
    toldAloneMs: Math.max(...seen.map(({ toldMs }) => toldMs)),
  });
  const watches = ((await fleet.watches()) - idleWatches) / tier.agents;
  const slices = await fleet.count("addressslices");
  await sleep(restMs);
  const [usage, writes] = [usageOf(operator), await fleet.writes()];
  await sleep(restMs);
  const rested = usageOf(operator);
  const perSecond = ((await fleet.writes()) - writes) / (restMs / 1000);
  const cpu = (rested.cpuSeconds - usage.cpuSeconds) / (restMs / 1000);
  const seconds = (ms: number): number => ms / 1000;
  const peer = "one bare watch";
  const all = seen.flatMap(({ times }) => times);
  const told = seen.map(({ toldMs }) => toldMs);
  const bareSeconds = seconds(Math.max(...seen.map(({ bareMs }) => bareMs)));
  const limit = operatorMibOf(tier);
  return [
    answer(`${name}.propagation-p50-s`, "s", seconds(quantile(all, 0.5)), peer, bareSeconds),
    answer(`${name}.propagation-p99-s`, "s", seconds(quantile(all, 0.99)), peer, bareSeconds, "<= 5 s"),
    answer(
      `${name}.propagation-last-s`,
      "s",
      seconds(all.reduce((last, each) => Math.max(last, each))),
      peer,
      bareSeconds,
    ),
    answer(`${name}.status-of-all-s`, "s", seconds(Math.max(...told)), peer, bareSeconds),
    answer(
      `${name}.writes-per-change`,
      "writes",
      (writesAfter - writesBefore) / changes,
      "one write of the object by each agent, and one of its own",
      2 * tier.agents,
    ),
    ...underChange,
    answer(`${name}.writes-per-second-at-rest`, "1/s", perSecond, "one write a minute and node", tier.agents / 60),
    answer(`${name}.operator-cpu`, "processors", cpu, "its limit", 0.2, "<= 0.2"),
    answer(`${name}.operator-own-mib`, "MiB", rested.mebibytes, "what the guide gives it", limit, `<= ${limit} MiB`),
    answer(
      `${name}.operator-cpu-s-per-change`,
      "s",
      (operatorAfter.cpuSeconds - operatorBefore.cpuSeconds) / changes,
      "the API server",
      (serverAfter.cpuSeconds - serverBefore.cpuSeconds) / changes,
    ),
    answer(`${name}.watches-per-agent`, "watches", watches, "one of each kind, its node and its pods", followed),
    answer(`${name}.address-slices`, "slices", slices, "one of each 100 pods", tier.pods / 100),
    answer(`${name}.api-server-mib`, "MiB", serverAfter.mebibytes, "the operator", rested.mebibytes),
  ];
}

/** When the object's status first spoke of that version on all nodes. */
async function statusOf(client: KubeClient, collection: Collection, version: string, agents: number): Promise<number> {
  interface Told {
    readonly metadata: { readonly name: string; readonly generation?: number | undefined };
    readonly status?: { readonly observedGeneration?: number; readonly nodes?: { readonly ready?: number } };
  }
  for (const end = performance.now() + patienceMs; performance.now() < end; await sleep(100)) {
    // A server that is busy with the agents is asked again.
    const items = await client.list(collection).then(
      (list) => list.items,
      () => [],
    );
    const isTold = (items as unknown as readonly Told[]).some(
      ({ metadata, status }) =>
        versionOf(metadata) === version &&
        status?.observedGeneration === metadata.generation &&
        (status?.nodes?.ready ?? 0) >= agents,
    );
    if (isTold) return Date.now();
  }
  throw new Error(`wait for the status of ${version}: not on ${agents} nodes`);
}

/** A watch without a cache, beside the agents'. */
class WatchedVersions implements AsyncDisposable {
  readonly #seen = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  private constructor(client: KubeClient, collection: Collection, onOpen: () => void) {
    this.#running = this.#run(client, collection, onOpen);
  }

  /** Resolves when it sees what is there. */
  static async start(client: KubeClient, collection: Collection): Promise<WatchedVersions> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const watched = new WatchedVersions(client, collection, resolve);
    await promise;
    return watched;
  }

  async when(version: string): Promise<number> {
    for (const end = performance.now() + patienceMs; performance.now() < end; await sleep(10)) {
      const at = this.#seen.get(version);
      if (at !== undefined) return at;
    }
    throw new Error(`watch ${version}: it did not come`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(client: KubeClient, collection: Collection, onOpen: () => void): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const onEvent = (_type: string, { metadata }: ApiObject): boolean => {
          if (!this.#seen.has(versionOf(metadata))) this.#seen.set(versionOf(metadata), Date.now());
          return true;
        };
        await client.readEvents(collection, { query: {}, signal, silenceMs: patienceMs, onOpen, onEvent });
      } catch {
        // It was cut, or we ended it; where we did not, it goes on from what there is.
        if (!signal.aborted) await sleep(50);
      }
    }
  }
}
