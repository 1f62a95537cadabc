import { objectKey, type AnyObject, type ResourceType } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient } from "@bpfleet/kube-client";
import { fieldManager, trialName } from "../desired/names.ts";
import type { Manifest } from "../desired/manifest.ts";
import { isPutBy } from "./owned-fields.ts";
import { rememberApplied, planStep, replacement, type Applied } from "./plan-step.ts";
import { isOfContent, isOfImmutableField } from "./refusal.ts";

/** Where an object of ours is, and how it is followed: each by its own name, so that nothing else has to be readable. */
interface Kept {
  readonly informer: Informer<AnyObject>;
  wanted: Manifest | undefined;
  applied: Applied | undefined;
  /** The object that is there cannot become what is wanted, and the server would take it anew. */
  hopeless: { readonly uid: string | undefined; readonly wanted: Manifest; readonly because: string } | undefined;
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
  /** As it was before; `undefined`: it was not there. */
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
    this.#kept.set(id, { informer, wanted: undefined, applied: undefined, hopeless: undefined });
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

  /**
   * Brings one object to what is wanted of it. `undefined`, or why it cannot: what is to be changed never changes, as
   * the selector of a DaemonSet that somebody else made. Such an object is to be removed, and is not by this. Whatever
   * else the server refuses is thrown, and leaves the object as it is.
   */
  async keep(id: string, signal: AbortSignal): Promise<string | undefined> {
    const kept = this.#get(id);
    const { wanted, informer } = kept;
    if (wanted === undefined || !informer.isSynced) return undefined;
    const live = this.find(id);
    const { hopeless } = kept;
    if (live !== undefined && hopeless?.wanted === wanted && hopeless.uid === live.metadata.uid)
      return live.metadata.deletionTimestamp === undefined ? hopeless.because : undefined;
    kept.hopeless = undefined;
    // Takes away what applying leaves there; then the fields are ours again.
    const renew = async (because: string, object: AnyObject): Promise<undefined> => {
      await this.#replace(id, live ?? object, object, because, signal);
      kept.applied = rememberApplied(wanted, await this.#apply(id, wanted, "it was replaced", signal));
    };
    const step = planStep(wanted, live, kept.applied);
    if (step.do === "nothing" || step.do === "wait") return undefined;
    if (step.do === "replace") return await renew(step.because, step.object);
    const isPut = live !== undefined && isPutBy(live, fieldManager);
    let answer: AnyObject;
    try {
      // Applying leaves what was put in its place.
      if (isPut) return await renew(step.because, replacement(wanted, live));
      answer = await this.#apply(id, wanted, step.because, signal);
    } catch (error) {
      if (live === undefined) throw error;
      if (isOfContent(error) && !isPut)
        return await renew("what is wanted cannot be beside what is there", replacement(wanted, live));
      if (!isOfImmutableField(error)) throw error;
      await this.#rehearse(kept, wanted, signal);
      kept.hopeless = { uid: live.metadata.uid, wanted, because: error.message };
      return error.message;
    }
    // Put in place meanwhile: when the news of it comes, nothing is known.
    kept.applied = isPutBy(answer, fieldManager) ? undefined : rememberApplied(wanted, answer);
    const next = planStep(wanted, answer, kept.applied);
    return next.do === "replace" ? await renew(next.because, next.object) : undefined;
  }

  /** Puts something else in an object's place once, whatever is wanted of it, and whoever has fields of it. */
  async replace(id: string, manifest: Manifest, because: string, signal: AbortSignal): Promise<void> {
    const live = this.find(id);
    if (live !== undefined) await this.#replace(id, live, replacement(manifest, live), because, signal);
  }

  /** Removes an object, which is then wanted no more; nothing where it is not there. */
  async remove(id: string, because: string, signal: AbortSignal): Promise<void> {
    this.want(id, undefined);
    await this.giveWay(id, because, signal);
  }

  /** Removes an object, so that what is wanted is made in its place. */
  async giveWay(id: string, because: string, signal: AbortSignal): Promise<void> {
    const kept = this.#get(id);
    kept.applied = undefined;
    const live = this.find(id);
    if (live === undefined || live.metadata.deletionTimestamp !== undefined) return;
    const { namespace, name } = live.metadata;
    await this.#options.client.delete(
      { ...kept.informer.resource, namespace, name },
      { propagation: "Background", signal, ...preconditions(live) },
    );
    this.#options.onWrite({ verb: "delete", id, because, live });
  }

  /** Nothing is known of what was applied: everything is compared anew. */
  forget(): void {
    for (const kept of this.#kept.values()) kept.applied = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#kept.values()].map(({ informer }) => informer.stop()));
  }

  async #apply(id: string, manifest: Manifest, because: string, signal: AbortSignal): Promise<AnyObject> {
    const { client, onWrite } = this.#options;
    const live = this.find(id);
    const { resource } = this.#get(id).informer;
    const answer = await client.apply<AnyObject>(resource, manifest, { fieldManager, isForced: true, signal });
    onWrite({ verb: "apply", id, because, live });
    return answer;
  }

  async #replace(id: string, live: AnyObject, object: AnyObject, because: string, signal: AbortSignal): Promise<void> {
    const { client, onWrite } = this.#options;
    await client.update(this.#get(id).informer.resource, object, { fieldManager, signal });
    onWrite({ verb: "replace", id, because, live });
  }

  /**
   * Throws where the server would not take the object anew either. Under another name, since one that is there only
   * says what of it cannot be changed.
   */
  async #rehearse({ informer }: Kept, wanted: Manifest, signal: AbortSignal): Promise<void> {
    const name = trialName(wanted.metadata.name);
    const trial = { ...wanted, metadata: { ...wanted.metadata, name } };
    const place = { ...informer.resource, name };
    await this.#options.client.apply<AnyObject>(place, trial, { fieldManager, isForced: true, isDryRun: true, signal });
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
