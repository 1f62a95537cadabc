import { recheckAfter, type AnyObject, type Outcome, type ResourceType } from "@bpfleet/kube";
import type { KubeClient, Timing } from "@bpfleet/kube-client";
import { finalizers } from "../desired/names.ts";
import { resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { tryEach } from "../run/try-each.ts";
import { takeFinalizer } from "./finalizers.ts";
import type { NodePrograms } from "./node-programs.ts";
import type { NodeRegister } from "./node-register.ts";
import { nodeOf } from "./orphans.ts";

export interface NodeCleanerOptions {
  readonly client: KubeClient;
  readonly nodes: Pick<NodeRegister, "size" | "synced" | "has" | "list" | "onChange">;
  readonly programs: Pick<NodePrograms, "synced" | "all" | "onDeletion">;
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
    const left: readonly { readonly type: ResourceType; readonly object: AnyObject; readonly holds: boolean }[] = [
      ...programs
        .all()
        .flatMap(({ type, program }) =>
          nodeOf(program, known) === undefined ? [{ type, object: program, holds: true }] : [],
        ),
      ...states
        .list()
        .flatMap((object) =>
          nodes.has(object.metadata.name) ? [] : [{ type: resources.nodeStates, object, holds: false }],
        ),
    ];
    await tryEach(left, signal, async ({ type, object, holds }) => {
      const { name } = object.metadata;
      if (holds && !(await takeFinalizer(client, type, object, finalizers.program, signal))) return;
      if (await client.delete({ ...type, name }, { signal, ...ofUid(object) }))
        teller.wrote("delete", `${object.kind} ${name}`, "its node is gone");
    });
    return recheckAfter(sweepMs);
  }
}

function ofUid({ metadata }: AnyObject): { preconditions?: { uid: string } } {
  return metadata.uid === undefined ? {} : { preconditions: { uid: metadata.uid } };
}
