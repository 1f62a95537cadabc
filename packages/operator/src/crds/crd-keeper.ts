import type { DefinedKind } from "@bpfleet/kinds";
import { awaitChange, isApiError, type AnyObject, type Outcome } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { crdName, isOfOthers } from "../desired/access.ts";
import { fieldManager, madeByOperator } from "../desired/names.ts";
import { appliedFields, foreignFields } from "../reconcile/owned-fields.ts";
import { resources } from "../reconcile/resources.ts";
import { rememberApplied, planStep, type Applied } from "../reconcile/plan-step.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";

export interface CrdKeeperOptions {
  readonly client: KubeClient;
  readonly kinds: readonly DefinedKind[];
  readonly teller: Teller;
  readonly timing: Timing;
  /** What the API server makes of a kind is another from now on. */
  readonly onSchema: (kind: DefinedKind) => void;
}

/** Whether a CRD that is there is ours: we applied it, and nobody else has taken over anything of its spec. */
export function isOurs(crd: AnyObject): boolean {
  return appliedFields(crd, fieldManager) !== undefined && foreignFields(crd, fieldManager, ["spec"]).length === 0;
}

/** Installs CRDs of others where they are absent, and keeps those that it installed; never one that somebody owns. */
export class CrdKeeper implements Part {
  readonly name = "crds";
  readonly #options: CrdKeeperOptions;
  readonly #wanted: ReadonlyMap<string, AnyObject>;
  readonly #informers: ReadonlyMap<string, Informer<AnyObject>>;
  readonly #applied = new Map<string, Applied>();
  readonly #work: LeadingController;

  constructor(options: CrdKeeperOptions) {
    this.#options = options;
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      reconcile: (name, stop) => this.#keep(name, stop),
    });
    const { client, kinds, teller, onSchema } = options;
    const theirs = kinds.filter((kind) => isOfOthers(kind) && kind.crd() !== undefined);
    this.#wanted = new Map(theirs.map((kind) => [crdName(kind), labelled(kind.crd() as AnyObject)]));
    this.#informers = new Map(
      theirs.map((kind) => {
        const name = crdName(kind);
        const informer = createInformer<AnyObject>(client, {
          resource: { ...resources.crds, name },
          onFault: (error) => teller.fault(error),
        });
        informer.onChange((change) => {
          this.#work.add(name);
          const before = change.type === "updated" ? change.before.metadata.generation : undefined;
          if (before !== change.object.metadata.generation) onSchema(kind);
        });
        return [name, informer.start()] as const;
      }),
    );
  }

  async lead(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced(signal)));
    this.#applied.clear();
    await this.#work.lead(signal, () => {
      for (const name of this.#wanted.keys()) this.#work.add(name);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()));
  }

  async #keep(name: string, signal: AbortSignal): Promise<Outcome> {
    const { client, teller } = this.#options;
    const wanted = this.#wanted.get(name);
    const live = this.#informers.get(name)?.list()[0];
    if (wanted === undefined || (live !== undefined && !isOurs(live))) {
      if (live !== undefined)
        teller.note(
          `CRD ${name} is somebody else's and stays as it is; fields that it does not know are dropped by the API server`,
        );
      return awaitChange;
    }
    const step = planStep(wanted, live, this.#applied.get(name));
    if (step.do !== "apply") return awaitChange;
    try {
      // Not forced: what another owner has taken meanwhile is his.
      const answer = await client.apply<AnyObject>(resources.crds, wanted, { fieldManager, signal });
      this.#applied.set(name, rememberApplied(wanted, answer));
      teller.wrote("apply", `CRD ${name}`, step.because);
    } catch (error) {
      if (!isApiError(error) || !error.isConflict) throw error;
      teller.note(`CRD ${name} is somebody else's and stays as it is`);
    }
    return awaitChange;
  }
}

function labelled(crd: AnyObject): AnyObject {
  return { ...crd, metadata: { ...crd.metadata, labels: { ...crd.metadata.labels, ...madeByOperator } } };
}
