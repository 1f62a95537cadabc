import assert from "node:assert/strict";
import type { DaemonResults } from "@bpfleet/daemon";
import type { InstanceCounters } from "@bpfleet/features";
import { emptyPlan, type BytecodeSource, type EndpointWish, type NodeFacts, type NodePlan } from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import type { AgentDaemon } from "../agent.ts";
import type { PullSecrets } from "../bytecode-sources.ts";

/** Everything that is planned is in force at once, except on `broken0`, where attaching fails. */
export class ObedientDaemon implements AgentDaemon {
  plan: NodePlan = emptyPlan;
  isComplete = false;
  plans = 0;
  cgroups: readonly string[] = [];
  wishes: readonly EndpointWish[] = [];
  sources: readonly BytecodeSource[] = [];
  secrets: PullSecrets = {};
  hits = 0n;
  /** Every program that was once planned stays in the kernel. */
  keepsPrograms = false;
  readonly #seen = new Set<string>();
  #facts = nodeFacts({
    objects: { filter: { digest: "d" } },
    interfaces: [interfaceFacts("eth0", { mac: "" })],
  });
  readonly #onFacts = new Set<(facts: NodeFacts) => void>();
  readonly #onChange = new Set<(results: DaemonResults) => void>();

  facts(): NodeFacts {
    return this.#facts;
  }
  setFacts(change: Partial<NodeFacts>): void {
    this.#facts = { ...this.#facts, ...change };
    for (const tell of this.#onFacts) tell(this.#facts);
  }
  setInterfaces(...names: string[]): void {
    const [first] = this.#facts.interfaces;
    assert.ok(first);
    this.setFacts({ interfaces: names.map((name) => ({ ...first, name })) });
  }
  onFacts(callback: (facts: NodeFacts) => void): () => void {
    this.#onFacts.add(callback);
    return () => this.#onFacts.delete(callback);
  }
  watchCgroups(paths: readonly string[]): void {
    this.cgroups = paths;
  }
  watchEndpoints(wishes: readonly EndpointWish[]): void {
    this.wishes = wishes;
  }
  watchBytecode(sources: readonly BytecodeSource[], secrets: PullSecrets): void {
    this.sources = sources;
    this.secrets = secrets;
  }
  setPlan(plan: NodePlan, options: { readonly complete: boolean }): void {
    this.plan = plan;
    this.isComplete = options.complete;
    for (const { key } of plan.programs) this.#seen.add(key);
    this.plans++;
    for (const tell of this.#onChange) tell(this.results());
  }
  lastPlan(): NodePlan {
    return this.plan;
  }
  results(): DaemonResults {
    const items: DaemonResults["items"] = [
      ...this.plan.maps.map(({ key }) => ({ item: "map" as const, key, state: "in-force" as const })),
      ...this.plan.programs.map(({ key }) => ({ item: "program" as const, key, state: "in-force" as const })),
      ...this.plan.hooks.map(({ key }) =>
        key.endsWith("/broken0")
          ? {
              item: "hook" as const,
              key,
              state: "failed" as const,
              error: { code: "busy" as const, message: `attach to ${key}: occupied (EBUSY)` },
            }
          : {
              item: "hook" as const,
              key,
              state: "in-force" as const,
              hook: { mode: "native", chain: "direct" as const, memberModes: [] },
            },
      ),
    ];
    return {
      revision: this.plans,
      isComplete: this.isComplete,
      isSettled: true,
      isPaused: false,
      items,
      leftovers: this.#leftovers(),
      healed: [],
      applyMs: 1,
      trouble: undefined,
    };
  }
  #leftovers(): DaemonResults["leftovers"] {
    const planned = new Set(this.plan.programs.map(({ key }) => key));
    const left = this.keepsPrograms ? [...this.#seen].filter((key) => !planned.has(key)) : [];
    const error = { code: "internal", message: "detach xdp/eth0: read-only file system (EROFS)" } as const;
    return left.length === 0 ? undefined : left.map((key) => ({ item: "program", key, state: "failed", error }));
  }
  onChange(callback: (results: DaemonResults) => void): () => void {
    this.#onChange.add(callback);
    return () => this.#onChange.delete(callback);
  }
  async settled(): Promise<DaemonResults> {
    return this.results();
  }
  async counters(): Promise<readonly InstanceCounters[]> {
    return this.plan.instances.map(({ owner }) => ({
      owner,
      reasons: { blacklisted: { packets: this.hits, bytes: this.hits * 60n } },
      rules: [],
      gauges: {},
    }));
  }
}
