import { canonicalJson, refKey, type ObjectRef } from "@bpfleet/base";
import { apiVersionOf, type DefinedKind, type KubeObject } from "@bpfleet/kinds";
import { isApiError, isRefusal, removeFinalizerPatch, type AnyObject } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type ObjectAddress, type Timing } from "@bpfleet/kube-client";
import type { ObjectReport } from "../report.ts";
import { fieldManager, nodeLabel, nameLabelValue, programFinalizer } from "./agent-marks.ts";

export interface MadeObjectsOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** Of which the agent makes objects. */
  readonly kinds: readonly DefinedKind[];
  readonly timing?: Timing | undefined;
  /** An object of ours came, went or was changed. */
  readonly onChange: () => void;
  readonly onNotice: (notice: string) => void;
}

/** What became of the writing of an object that is made of another. */
export type MadeFate = "there" | "due" | { readonly refusal: string };

/** The objects that this node's agent makes: they are what the reports say, and go when nothing of them is left. */
export class MadeObjects implements AsyncDisposable {
  readonly #options: MadeObjectsOptions;
  /** Of kinds of which there may be objects of this node. */
  readonly #informers = new Map<DefinedKind, Informer<AnyObject>>();
  /** What was written last, and what version that made. */
  readonly #written = new Map<string, { readonly text: string; readonly version: string | undefined }>();

  /** What the server said to the last try to write each that it does not take. */
  readonly #refused = new Map<string, string>();
  readonly #stop = new AbortController();

  constructor(options: MadeObjectsOptions) {
    this.#options = options;
  }

  /** There may be objects of `owner`: those that are made of them are followed from now on. */
  followMadeOf(owner: Pick<DefinedKind, "group" | "kind">): void {
    for (const kind of this.#options.kinds)
      if (kind.group === owner.group && kind.madeFrom === owner.kind) this.#follow(kind);
  }

  /** Resolves when those of an earlier run are known, or after `timeoutMs`: they only make the start smoother. */
  async known(timeoutMs: number): Promise<readonly MadeObject[]> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    const synced = Promise.all(this.#options.kinds.map((kind) => this.#findEarlier(kind)));
    await Promise.race([synced.catch(() => undefined), promise]);
    clearTimeout(timer);
    return this.#there();
  }

  /** As the server has it. */
  find({ group, kind, name }: ObjectRef): AnyObject | undefined {
    for (const [each, informer] of this.#informers)
      if (each.group === group && each.kind === kind) return informer.get(undefined, name);
    return undefined;
  }

  /** Of one that is made of a declared object. */
  fateOf({ ref, object }: ObjectReport): MadeFate {
    const refused = this.#refused.get(refKey(ref));
    if (refused !== undefined) return { refusal: refused };
    const found = [...this.#informers].find(([kind]) => kind.group === ref.group && kind.kind === ref.kind);
    const [kind, informer] = found ?? [];
    if (kind === undefined || informer?.isSynced !== true || object.metadata.deletionTimestamp !== undefined)
      return "there";
    const isThere = informer.get(undefined, ref.name) !== undefined || this.#written.has(`${kind.kind}/${ref.name}`);
    return isThere ? "there" : "due";
  }

  /** Brings the API server to the reports; the plan that they are of is in force. One that it refuses holds up none. */
  async sync(reports: readonly ObjectReport[], mayRemove: boolean): Promise<void> {
    const wanted = new Map(reports.flatMap((report) => (report.madeFrom ? [[refKey(report.ref), report]] : [])));
    const failures: unknown[] = [];
    for (const key of this.#refused.keys()) if (!wanted.has(key)) this.#refused.delete(key);
    for (const [kind, informer] of this.#informers) {
      if (!informer.isSynced) continue;
      for (const [key, report] of wanted) {
        if (report.ref.group !== kind.group || report.ref.kind !== kind.kind) continue;
        const failure = await failureOf(this.#keep(kind, informer, report));
        if (isRefusal(failure)) this.#refused.set(key, failure.message);
        else if (failure === undefined) this.#refused.delete(key);
        if (failure !== undefined) failures.push(failure);
      }
    }
    if (mayRemove)
      for (const { kind, ref, object } of this.#there()) {
        if (wanted.has(refKey(ref))) continue;
        const failure = await failureOf(this.#remove(kind, object));
        if (failure !== undefined) failures.push(failure);
      }
    if (failures.length > 0) throw failures[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()));
  }

  #selector(): string {
    return `${nodeLabel}=${nameLabelValue(this.#options.nodeName)}`;
  }

  #follow(kind: DefinedKind): Informer<AnyObject> {
    const { client, timing, onChange, onNotice } = this.#options;
    const { group, version, plural } = kind;
    const known = this.#informers.get(kind);
    if (known !== undefined) return known;
    const informer = createInformer<AnyObject>(client, {
      resource: { group, version, plural },
      labelSelector: this.#selector(),
      transform: withoutFields,
      ...(timing !== undefined && { timing }),
      onFault: (error) => {
        if (!error.isNotFound) onNotice(error.message);
      },
    });
    this.#informers.set(kind, informer);
    informer.onChange(onChange);
    // What was reported meanwhile waits for it.
    informer.synced().then(onChange, () => undefined);
    return informer.start();
  }

  /** A kind without an object of this node is not followed until there is something to make one of. */
  async #findEarlier(kind: DefinedKind): Promise<void> {
    const { group, version, plural } = kind;
    const { signal } = this.#stop;
    if (!this.#informers.has(kind)) {
      const type = { group, version, plural };
      const found = this.#options.client.list(type, { labelSelector: this.#selector(), limit: 1, signal });
      const isThere = await found.then(
        ({ items }) => items.length > 0,
        (error: unknown) => !(isApiError(error) && error.isNotFound),
      );
      if (signal.aborted || (!isThere && !this.#informers.has(kind))) return;
    }
    await this.#follow(kind).synced();
  }

  #there(): readonly MadeObject[] {
    return [...this.#informers].flatMap(([kind, informer]) =>
      informer.list().map((object) => {
        const ref = { group: kind.group, kind: kind.kind, namespace: "", name: object.metadata.name };
        return { kind, ref, object };
      }),
    );
  }

  async #keep(kind: DefinedKind, informer: Informer<AnyObject>, { object }: ObjectReport): Promise<void> {
    const { client } = this.#options;
    const address = addressOf(kind, object.metadata.name);
    const there = informer.get(undefined, object.metadata.name);
    const isLeaving = object.metadata.deletionTimestamp !== undefined;
    if (there?.metadata.deletionTimestamp !== undefined && !isLeaving) return this.#release(kind, there);
    if (isLeaving && there === undefined) return;
    const body = this.#bodyOf(kind, object);
    const text = canonicalJson([body, object.status]);
    const key = `${kind.kind}/${object.metadata.name}`;
    const written = this.#written.get(key);
    // A server may give fields another form than we do: what it made of them once is right.
    if (written?.text === text && written.version === there?.metadata.resourceVersion) return;
    let now = there;
    if (!isLeaving && !says(there, body)) {
      now = await client.apply(address, body, { fieldManager, isForced: true });
    }
    if (canonicalJson(now?.["status"]) !== canonicalJson(object.status)) {
      const { apiVersion, kind: name } = body;
      const status = { apiVersion, kind: name, metadata: { name: object.metadata.name }, status: object.status };
      now = await client.applyStatus(address, status, { fieldManager, isForced: true });
    }
    this.#written.set(key, { text, version: now?.metadata.resourceVersion });
  }

  #bodyOf(kind: DefinedKind, { metadata, spec }: KubeObject): AnyObject {
    const { name, labels, finalizers, ownerReferences } = metadata;
    return {
      apiVersion: apiVersionOf(kind),
      kind: kind.kind,
      metadata: {
        name,
        labels: { ...labels, [nodeLabel]: nameLabelValue(this.#options.nodeName) },
        ...(finalizers !== undefined && { finalizers }),
        ...(ownerReferences !== undefined && { ownerReferences }),
      },
      spec,
    };
  }

  async #remove(kind: DefinedKind, object: AnyObject): Promise<void> {
    await this.#release(kind, object);
    this.#written.delete(`${kind.kind}/${object.metadata.name}`);
    const { name, uid } = object.metadata;
    if (object.metadata.deletionTimestamp !== undefined) return;
    try {
      await this.#options.client.delete(addressOf(kind, name), {
        ...(uid !== undefined && { preconditions: { uid } }),
        propagation: "Background",
      });
    } catch (error) {
      // Another one of that name is there meanwhile.
      if (!isApiError(error) || !error.isConflict) throw error;
    }
  }

  /** Nothing of it is in the kernel any more: it may go. */
  async #release(kind: DefinedKind, there: AnyObject): Promise<void> {
    const { name, uid, finalizers = [] } = there.metadata;
    if (!finalizers.includes(programFinalizer)) return;
    const address = addressOf(kind, name);
    const { metadata, ...body } = this.#bodyOf(kind, there);
    const { finalizers: _held, ...kept } = metadata;
    const { client } = this.#options;
    try {
      // Of this very object: applied to one that is gone it would make another.
      const whole = { ...body, metadata: { ...kept, uid } };
      const left = await client.apply<AnyObject>(address, whole, { fieldManager, isForced: true });
      // Others have put it too.
      const patch = removeFinalizerPatch(left, programFinalizer);
      if (patch !== undefined) await client.patch(address, patch, { type: "json", fieldManager });
    } catch (error) {
      if (!isApiError(error) || !(error.isNotFound || error.isConflict)) throw error;
    }
  }
}

export interface MadeObject {
  readonly kind: DefinedKind;
  readonly ref: ObjectRef;
  readonly object: AnyObject;
}

/** Where the server cannot be asked at all, none of the others is tried. */
async function failureOf(work: Promise<void>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (isApiError(error) && unheard.has(error.status)) throw error;
    return error;
  }
}

const unheard: ReadonlySet<number> = new Set([0, 401, 429, 503]);

function addressOf({ group, version, plural }: DefinedKind, name: string): ObjectAddress {
  return { group, version, plural, name };
}

function withoutFields(object: AnyObject): AnyObject {
  const { managedFields: _fields, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** Whether the object says what is applied; others may have added to it. */
function says(there: AnyObject | undefined, { metadata, spec }: AnyObject & { readonly spec?: unknown }): boolean {
  if (there === undefined) return false;
  const { labels = {}, finalizers = [], ownerReferences = [] } = there.metadata;
  const wantedLabels = Object.entries(metadata.labels ?? {});
  const owners = ownerReferences.map(({ uid }) => uid);
  return (
    wantedLabels.every(([name, value]) => labels[name] === value) &&
    (metadata.finalizers ?? []).includes(programFinalizer) === finalizers.includes(programFinalizer) &&
    (metadata.ownerReferences ?? []).every(({ uid }) => owners.includes(uid)) &&
    canonicalJson(there["spec"]) === canonicalJson(spec)
  );
}
