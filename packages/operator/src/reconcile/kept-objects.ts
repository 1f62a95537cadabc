import { isApiError, objectKey, type AnyObject, type ResourceType } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient } from "@bpfleet/kube-client";
import { fieldManager } from "../desired/names.ts";
import type { Manifest } from "../desired/manifest.ts";
import { rememberApplied, planStep, type Applied } from "./plan-step.ts";

/** Where an object of ours is, and how it is followed: each by its own name, so that nothing else has to be readable. */
interface Kept {
  readonly informer: Informer<AnyObject>;
  wanted: Manifest | undefined;
  applied: Applied | undefined;
}

export interface KeptObjectsOptions {
  readonly client: KubeClient;
  /** Something of the object changed, so that it is to be looked at. */
  readonly onChange: (id: string) => void;
  readonly onWrite: (what: Write) => void;
  readonly onFault: (error: Error) => void;
}

export interface Write {
  readonly verb: "apply" | "replace" | "delete";
  readonly id: string;
  readonly because: string;
  /** As it was before. */
  readonly live: AnyObject | undefined;
}

/** Keeps single objects as they are wanted, whoever edits or deletes them. */
export class KeptObjects implements AsyncDisposable {
  readonly #options: KeptObjectsOptions;
  readonly #kept = new Map<string, Kept>();

  constructor(options: KeptObjectsOptions) {
    this.#options = options;
  }

  get ids(): readonly string[] {
    return [...this.#kept.keys()];
  }

  /** Follows an object from now on. Returns its id. */
  follow(type: ResourceType, place: { readonly namespace?: string | undefined; readonly name: string }): string {
    const id = idOf(type, place);
    if (this.#kept.has(id)) return id;
    const { client, onChange, onFault } = this.#options;
    const informer = createInformer<AnyObject>(client, { resource: { ...type, ...place }, onFault }).start();
    this.#kept.set(id, { informer, wanted: undefined, applied: undefined });
    informer.onChange(() => onChange(id));
    return id;
  }

  async synced(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#kept.values()].map(({ informer }) => informer.synced(signal)));
  }

  find(id: string): AnyObject | undefined {
    return this.#kept.get(id)?.informer.list()[0];
  }

  /** What is to be there from now on; `undefined`: we leave it alone. */
  want(id: string, wanted: Manifest | undefined): void {
    const kept = this.#get(id);
    kept.wanted = wanted;
    if (wanted === undefined) kept.applied = undefined;
    this.#options.onChange(id);
  }

  /** Brings one object to what is wanted of it. */
  async keep(id: string, signal: AbortSignal): Promise<void> {
    const kept = this.#get(id);
    const { wanted, informer } = kept;
    if (wanted === undefined || !informer.isSynced) return;
    const step = planStep(wanted, this.find(id), kept.applied);
    switch (step.do) {
      case "nothing":
      case "wait":
        return;
      case "apply":
        kept.applied = await this.#apply(kept, wanted, step.because, signal);
        return;
      case "replace": {
        const { client, onWrite } = this.#options;
        onWrite({ verb: "replace", id, because: step.because, live: this.find(id) });
        await client.update(informer.resource, step.object, { fieldManager, signal });
        kept.applied = await this.#apply(kept, wanted, "it was replaced", signal);
      }
    }
  }

  /** Removes an object; nothing where it is not there. */
  async remove(id: string, because: string, signal: AbortSignal): Promise<void> {
    const kept = this.#get(id);
    kept.wanted = undefined;
    kept.applied = undefined;
    const live = this.find(id);
    if (live === undefined || live.metadata.deletionTimestamp !== undefined) return;
    const { namespace, name } = live.metadata;
    this.#options.onWrite({ verb: "delete", id, because, live });
    await this.#options.client.delete(
      { ...kept.informer.resource, namespace, name },
      { propagation: "Background", signal, ...preconditions(live) },
    );
  }

  /** Nothing is known of what was applied: everything is compared anew. */
  forget(): void {
    for (const kept of this.#kept.values()) kept.applied = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#kept.values()].map(({ informer }) => informer.stop()));
  }

  async #apply({ informer }: Kept, wanted: Manifest, because: string, signal: AbortSignal): Promise<Applied> {
    const { client, onWrite } = this.#options;
    const id = idOf(informer.resource, wanted.metadata);
    onWrite({ verb: "apply", id, because, live: this.find(id) });
    const apply = (): Promise<AnyObject> =>
      client.apply<AnyObject>(informer.resource, wanted, { fieldManager, isForced: true, signal });
    try {
      return rememberApplied(wanted, await apply());
    } catch (error) {
      // Somebody made one with what cannot be changed, such as another selector: it gives way.
      if (!isApiError(error) || error.status !== 422 || this.find(id) === undefined) throw error;
      await this.remove(id, error.message, signal);
      this.#get(id).wanted = wanted;
      return rememberApplied(wanted, await apply());
    }
  }

  #get(id: string): Kept {
    const kept = this.#kept.get(id);
    if (kept === undefined) throw new RangeError(`keep ${id}: it is not followed`);
    return kept;
  }
}

function preconditions({ metadata }: AnyObject): { preconditions?: { uid: string } } {
  return metadata.uid === undefined ? {} : { preconditions: { uid: metadata.uid } };
}

/** `daemonsets.apps kube-system/bpfd-daemon` */
export function idOf(
  type: ResourceType,
  place: { readonly namespace?: string | undefined; readonly name: string },
): string {
  const collection = type.group === "" ? type.plural : `${type.plural}.${type.group}`;
  return `${collection} ${objectKey({ metadata: place })}`;
}
