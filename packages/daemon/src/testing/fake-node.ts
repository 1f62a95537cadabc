import type { Counter, Feature, InstanceCounters } from "@bpfleet/features";
import {
  emptyJournal,
  FakeKernel,
  FakeWorld,
  type EndpointFacts,
  type EndpointWish,
  type NodeFacts,
} from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts, wholeKernel } from "@bpfleet/kernel/testing";
import { pino } from "pino";
import type { PullSecrets } from "../bytecode/bytecode-watch.ts";
import { WorkLoop } from "../loop/work-loop.ts";
import { Firewalls } from "../metrics/firewalls.ts";
import { Histogram } from "../metrics/histogram.ts";
import { NodeDaemon, type FactsListener } from "../node-daemon.ts";
import type { NodeState } from "../state/node-state.ts";

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

/** Counts every rule of an instance as its index, times the packets that the world saw. */
export const countingFeature: Feature = {
  name: "counting",
  plan: () => ({ maps: [], programs: [], attachments: [], instances: [], problems: [] }),
  passReasons: ["allowed"],
  counterRoles: [],
  counters: ({ owner, rules }): InstanceCounters => ({
    owner,
    labels: { direction: "ingress" },
    reasons: { allowed: count(7) },
    rules: rules.map((rule) => ({ rule, counter: count(rule.index) })),
    gauges: { entries: rules.length, large: 2n ** 63n },
  }),
};

function count(packets: number): Counter {
  return { packets: BigInt(packets), bytes: BigInt(packets) * 60n };
}

/** A daemon over a kernel in memory: its loop, its plans and its results are the real ones. */
export class FakeNode implements AsyncDisposable {
  readonly world: FakeWorld;
  readonly daemon: NodeDaemon;
  cgroupPaths: readonly string[] = [];
  wishes: readonly EndpointWish[] = [];
  watched: { readonly sources: readonly unknown[]; readonly secrets: PullSecrets } = { sources: [], secrets: {} };
  readonly #listeners = new Set<FactsListener>();
  #facts: NodeFacts;

  constructor(world: FakeWorld = new FakeWorld()) {
    this.world = world;
    this.#facts = this.#measure();
    const kernel = new FakeKernel(world);
    const memory: Pick<NodeState, "savePlan" | "passOver" | "saveJournal" | "savePaused"> = {
      savePlan: async () => ({ durable: Promise.resolve() }),
      passOver: () => undefined,
      saveJournal: async () => undefined,
      savePaused: async () => undefined,
    };
    const loop = new WorkLoop({
      kernel,
      state: memory,
      remembered: { plan: undefined, journal: emptyJournal, isPaused: false, hashSeed: 1, unusable: [] },
      modes: () => ({ inline: true, stub: true, legacyTc: false }),
      clock,
      log: pino({ level: "silent" }),
      driftMs: 50,
      backoff: { firstMs: 5, longestMs: 40 },
    });
    const closing = new AsyncDisposableStack();
    closing.defer(() => loop.stop());
    this.#listeners.add((_, places) => loop.placesChanged(places));
    this.daemon = new NodeDaemon({
      version: "0.1.0",
      nodeName: "n1",
      kernel,
      features: [countingFeature],
      loop,
      facts: {
        get: () => this.#facts,
        watchCgroups: (paths) => {
          this.cgroupPaths = paths;
          this.look();
        },
        watchEndpoints: async (wishes) => {
          this.wishes = wishes;
          this.look();
        },
        plannedAs: () => undefined,
        inForceAre: () => undefined,
      },
      bytecode: {
        watch: (sources, secrets) => {
          this.watched = { sources, secrets };
          this.look();
        },
      },
      factsListeners: this.#listeners,
      applySeconds: new Histogram([1]),
      firewalls: new Firewalls(),
      clock,
      onTrouble: () => undefined,
      closing,
    });
    loop.start();
  }

  /** The world is another one: what the daemon watches is measured again. */
  look(): void {
    this.#facts = this.#measure();
    for (const tell of this.#listeners) tell(this.#facts, new Set(this.world.interfaces.keys()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon.stop();
  }

  /** A pod's network namespace is named as the interface that leads there. */
  #endpoint({ netns = "" }: EndpointWish): EndpointFacts {
    const ifindex = this.world.interfaces.get(netns);
    return ifindex === undefined
      ? { found: false, isFinal: false, why: `there is no network namespace ${netns} yet` }
      : { found: true, interface: netns, ifindex, addresses: ["10.0.0.2/24"], mac: "02:00:00:00:00:02" };
  }

  #measure(): NodeFacts {
    const { interfaces, cgroups } = this.world;
    return nodeFacts({
      nodeName: "n1",
      objects: { filter: { digest: "ab" } },
      hashSeed: 0xffffffff,
      pinRoot: "/run/bpfd/fs",
      bpffs: ["/run/bpfd/fs"],
      bytecode: Object.fromEntries(
        this.watched.sources.map((source) => [JSON.stringify(source), { state: "fetching" } as const]),
      ),
      endpoints: Object.fromEntries(this.wishes.map((wish) => [wish.key, this.#endpoint(wish)])),
      cgroups: Object.fromEntries(
        this.cgroupPaths.flatMap((path) => {
          const id = cgroups.get(path);
          return id === undefined ? [] : [[path, `${id}`]];
        }),
      ),
      interfaces: [...interfaces].map(([name, ifindex]) =>
        interfaceFacts(name, { ifindex, addresses: ["10.0.0.1/24"] }),
      ),
      kernel: { ...wholeKernel, tcx: { has: false, why: "too old" } },
    });
  }
}
