import { canonicalJson, refKey, type ObjectRef } from "@bpfleet/base";
import type { DefinedKind, KubeObject } from "@bpfleet/kinds";
import { isApiError, type AnyObject, type ApiError } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import type { ObjectSource } from "../store/object-source.ts";
import type { StoredObject, StoreSnapshot } from "../store/stored-object.ts";
import type { StoreHint } from "../store/watch-store.ts";
import { storedOf } from "./object-of-server.ts";
import { PullSecretReader } from "./pull-secret-reader.ts";
import { trimDeclared, trimNode, trimPod } from "./trim-object.ts";

export interface ClusterStoreOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** Those that people declare. */
  readonly kinds: readonly DefinedKind[];
  readonly timing?: Timing | undefined;
  readonly signal?: AbortSignal | undefined;
  /** One sentence for what keeps a kind from being followed. */
  readonly onNotice: (notice: string) => void;
}

interface Followed {
  readonly kind: Pick<DefinedKind, "group" | "kind">;
  readonly informer: Informer<AnyObject>;
  /** The server does not know the kind: there are no objects of it. */
  isUnknown: boolean;
  /** Since when it cannot be followed. */
  faultyMs: number | undefined;
  readonly known: Promise<void>;
}

const secretsMs = 60_000;
/** A watch that breaks is there again soon. */
const patienceMs = 15_000;

/**
 * What a cluster declares for one node: all objects of our kinds, the pods of the node, and the node itself. Objects
 * that are being deleted are not in it: what they asked for ends now.
 */
export class ClusterStore implements ObjectSource, AsyncDisposable {
  readonly place: string;
  readonly #options: ClusterStoreOptions;
  readonly #followed: readonly Followed[];
  readonly #secrets: PullSecretReader;
  readonly #objects = new Map<string, StoredObject>();
  readonly #sources = new Map<string, AnyObject>();
  #onHint: (hint: StoreHint) => void = () => undefined;
  #isDirty = false;

  constructor(options: ClusterStoreOptions) {
    const { client, nodeName, kinds } = options;
    this.#options = options;
    this.place = client.server;
    this.#secrets = new PullSecretReader(client, options.onNotice);
    const core = { group: "", version: "v1" };
    this.#followed = [
      this.#follow({ group: "", kind: "Node" }, { ...core, plural: "nodes", name: nodeName }, trimNode),
      this.#follow(
        { group: "", kind: "Pod" },
        { ...core, plural: "pods" },
        trimPod,
        `spec.nodeName=${nodeName},status.phase!=Succeeded,status.phase!=Failed`,
      ),
      ...kinds.map((kind) => {
        const { group, version, plural } = kind;
        return this.#follow(kind, { group, version, plural }, trimDeclared);
      }),
    ];
  }

  /** Resolves when all that there is was read once. */
  async follow(onHint: (hint: StoreHint) => void): Promise<Disposable> {
    this.#onHint = onHint;
    for (const { informer } of this.#followed) informer.start();
    const { promise, reject } = Promise.withResolvers<never>();
    const { signal } = this.#options;
    const abort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted === true) abort();
    await Promise.race([Promise.all(this.#followed.map(({ known }) => known)), promise]);
    signal?.removeEventListener("abort", abort);
    const timer = setInterval(() => {
      if (!this.#secrets.forget()) return;
      this.#isDirty = true;
      this.#onHint("anything");
    }, secretsMs);
    timer.unref();
    return {
      [Symbol.dispose]: () => {
        clearInterval(timer);
        this.#onHint = () => undefined;
      },
    };
  }

  async refresh(): Promise<boolean> {
    const isDirty = this.#isDirty;
    this.#isDirty = false;
    return isDirty;
  }

  snapshot(): StoreSnapshot {
    const objects = [...this.#objects.values(), ...this.#secrets.objects()];
    return { objects: objects.toSorted((a, b) => (a.path < b.path ? -1 : 1)), broken: [] };
  }

  pathOf(ref: ObjectRef): string {
    return refKey(ref);
  }

  fetchSecrets(names: readonly string[]): Promise<boolean> {
    return this.#secrets.fetch(names);
  }

  /** As the server has it, whatever becomes of it here. */
  find(ref: ObjectRef): AnyObject | undefined {
    return this.#sources.get(refKey(ref));
  }

  /** Why something is not followed, when that has been so for a while. */
  fault(): ApiError | undefined {
    const now = performance.now();
    for (const followed of this.#followed) {
      const { informer, isUnknown } = followed;
      if (informer.fault === undefined || isUnknown) followed.faultyMs = undefined;
      else if (now - (followed.faultyMs ??= now) > patienceMs) return informer.fault;
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#followed.map(({ informer }) => informer.stop()));
  }

  #follow(
    kind: Followed["kind"],
    resource: Informer["resource"],
    transform: (object: AnyObject) => AnyObject,
    fieldSelector?: string,
  ): Followed {
    const { client, timing, onNotice } = this.#options;
    const unknown = Promise.withResolvers<void>();
    const informer = createInformer<AnyObject>(client, {
      resource,
      transform,
      ...(fieldSelector !== undefined && { fieldSelector }),
      ...(timing !== undefined && { timing }),
      onFault: (error) => {
        followed.isUnknown = isApiError(error) && error.isNotFound && !informer.isSynced;
        if (followed.isUnknown) unknown.resolve();
        else onNotice(error.message);
        this.fault();
      },
    });
    informer.onChange(({ type, object }) => this.#see(kind, object, type === "deleted"));
    const known = Promise.race([informer.synced(), unknown.promise]);
    known.catch(() => undefined);
    const followed: Followed = { kind, informer, isUnknown: false, faultyMs: undefined, known };
    return followed;
  }

  #see({ group, kind }: Followed["kind"], object: AnyObject, isGone: boolean): void {
    const { name, namespace = "", deletionTimestamp } = object.metadata;
    const ref: ObjectRef = { group, kind, namespace, name };
    const key = refKey(ref);
    if (isGone) this.#sources.delete(key);
    else this.#sources.set(key, object);
    if (isGone || deletionTimestamp !== undefined) {
      if (!this.#objects.delete(key)) return;
    } else {
      const before = this.#objects.get(key);
      if (before !== undefined && isSame(before.object, object)) return;
      this.#objects.set(key, storedOf(ref, key, object));
    }
    this.#isDirty = true;
    this.#onHint("anything");
  }
}

/** Whether anything that is planned by is the same: a status that others write is no news. */
function isSame(before: KubeObject, now: AnyObject): boolean {
  const { resourceVersion: _before, ...old } = before.metadata;
  const { resourceVersion: _now, ...metadata } = now.metadata;
  if (canonicalJson(old) !== canonicalJson(metadata)) return false;
  // The server counts the changes of what is declared; of what has a status here it does not count all.
  if (metadata.generation !== undefined && metadata.generation > 0 && now["status"] === undefined) return true;
  return canonicalJson({ ...before, metadata: 0 }) === canonicalJson({ ...now, metadata: 0 });
}
