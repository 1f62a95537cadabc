import { awaitChange, recheckAfter, type AnyObject, type Outcome } from "@bpfleet/kube";
import type { KubeClient, Timing } from "@bpfleet/kube-client";
import { finalizers } from "../desired/names.ts";
import { resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { takeFinalizer } from "./finalizers.ts";
import type { NodePrograms } from "./node-programs.ts";
import type { NodeRegister } from "./node-register.ts";
import { nodeOf } from "./orphans.ts";

export interface NodeCleanerOptions {
  readonly client: KubeClient;
  readonly nodes: NodeRegister;
  readonly programs: NodePrograms;
  /** What nodes told, by whom; kept elsewhere, so that it is read once. */
  readonly states: { synced(signal: AbortSignal): Promise<void>; list(): readonly AnyObject[] };
  readonly teller: Teller;
  readonly timing: Timing;
  readonly activity: Activity;
  /** A node that registers itself anew is away for a moment. */
  readonly graceMs?: number | undefined;
}

const sweepKey = "sweep";
const usualGraceMs = 10_000;
/** What is left of nodes that went while nobody led, or whose objects came late and are not deleted. */
const sweepMs = 300_000;

/** Removes what nodes left that are gone: their NodeState, and objects that wait for an agent that never comes. */
export class NodeCleaner implements Part {
  readonly name = "nodes";
  readonly #options: NodeCleanerOptions;
  readonly #work: LeadingController;

  constructor(options: NodeCleanerOptions) {
    this.#options = options;
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      reconcile: (_key, stop) => this.#sweep(stop),
    });
    const sweepSoon = (): void => this.#work.addAfter(sweepKey, options.graceMs ?? usualGraceMs);
    options.nodes.onChange((_name, isThere) => {
      if (!isThere) sweepSoon();
    });
    options.programs.onDeletion((program) => {
      if (program.metadata.finalizers?.includes(finalizers.program) !== true) return;
      // Names that are told by a fingerprint are left to the sweep.
      const known = { has: (name: string) => options.nodes.has(name), names: () => [] };
      if (nodeOf(program, known) === undefined) sweepSoon();
    });
  }

  async lead(signal: AbortSignal): Promise<void> {
    const { nodes, programs, states } = this.#options;
    await Promise.all([states.synced(signal), nodes.synced(signal), programs.synced(signal)]);
    await this.#work.lead(signal, () => this.#work.addAfter(sweepKey, this.#options.graceMs ?? usualGraceMs));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #sweep(signal: AbortSignal): Promise<Outcome> {
    if (!this.#options.activity.isServing) return this.#options.activity.askAgain();
    const { client, nodes, programs, states, teller } = this.#options;
    // No node at all is a cluster that is being made or a list that cannot be believed.
    if (nodes.size === 0) return recheckAfter(sweepMs);
    const known = {
      has: (name: string) => nodes.has(name),
      names: () => nodes.list().map(({ metadata }) => metadata.name),
    };
    for (const { type, program } of programs.all()) {
      if (signal.aborted) return awaitChange;
      if (nodeOf(program, known) !== undefined) continue;
      const { name } = program.metadata;
      if (!(await takeFinalizer(client, type, program, finalizers.program, signal))) continue;
      if (await client.delete({ ...type, name }, { signal, ...ofUid(program) }))
        teller.wrote("delete", `${program.kind} ${name}`, "its node is gone");
    }
    for (const state of states.list()) {
      const { name } = state.metadata;
      if (signal.aborted) return awaitChange;
      if (nodes.has(name)) continue;
      if (await client.delete({ ...resources.nodeStates, name }, { signal, ...ofUid(state) }))
        teller.wrote("delete", `NodeState ${name}`, "its node is gone");
    }
    return recheckAfter(sweepMs);
  }
}

function ofUid({ metadata }: AnyObject): { preconditions?: { uid: string } } {
  return metadata.uid === undefined ? {} : { preconditions: { uid: metadata.uid } };
}
