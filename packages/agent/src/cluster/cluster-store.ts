import { canonicalJson, errorText, refKey, type ObjectRef } from "@bpfleet/base";
import { asksForServices, type DefinedKind, type KubeObject } from "@bpfleet/kinds";
import type { AnyObject, ApiError } from "@bpfleet/kube";
import type { KubeClient, Timing } from "@bpfleet/kube-client";
import type { ObjectSource } from "../store/object-source.ts";
import type { StoredObject, StoreSnapshot } from "../store/stored-object.ts";
import type { StoreHint } from "../store/watch-store.ts";
import { FollowedCollection, type KindName } from "./followed-collection.ts";
import { KindFollowers } from "./kind-followers.ts";
import { storedOf } from "./object-of-server.ts";
import { PullSecretReader } from "./pull-secret-reader.ts";
import { Repeat } from "./repeat.ts";
import { trimBackends, trimDeclared, trimNamespace, trimNode, trimPod, trimService, trimSlice } from "./trim-object.ts";

export interface ClusterStoreOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** Those that people declare. */
  readonly kinds: readonly DefinedKind[];
  readonly timing?: Timing | undefined;
  readonly signal?: AbortSignal | undefined;
  /** One sentence for what keeps a kind from being followed. */
  readonly onNotice: (notice: string) => void;
  /** Told when there are objects of a kind, or may be: it is followed from now on. */
  readonly onFollow?: ((kind: DefinedKind) => void) | undefined;
  /** See KindFollowers. */
  readonly lookMs?: number | undefined;
}

/** Between two looks at the pull secrets; and while an image waits for one, by the number of nodes that may look too. */
const secretsMs = 60_000;
const [awaitedMs, awaitedMsPerNode] = [5000, 10];
/**
 * API servers find the pods of a node by an index where they list them whole, and go through all pods of the cluster
 * where they send them as events or in pages.
 */
const byIndex = { usesWatchList: false, pageSize: 0 } as const;

/**
 * The first object of a kind: the whole fleet asks at once, and what a server has not heard of yet it tells when it has.
 * Before the first plan only what the store holds is enough, since what is missing in it would be taken out of force.
 */
const fromMemory = { usesWatchList: false, startFrom: "any", pageSize: 0 } as const;

/**
 * What a cluster declares for one node: all objects of our kinds, the pods of the node, and the node itself. Objects
 * that are being deleted are not in it: what they asked for ends now. Kinds without objects are not followed.
 *
 * Whose addresses there are in the cluster, and its namespaces, are followed with the first object that speaks of them;
 * that one is not in it before they are known: half of what it says would hold. The same holds for Services and their
 * endpoints, with the first object about what pods send.
 */
export class ClusterStore implements ObjectSource, AsyncDisposable {
  readonly place: string;
  readonly #options: ClusterStoreOptions;
  /** The node and its pods. */
  readonly #own: readonly FollowedCollection[];
  /** The addresses of pods and nodes elsewhere, and the namespaces. */
  readonly #peers: readonly FollowedCollection[];
  /** Services, and their back ends. */
  readonly #services: readonly FollowedCollection[];
  readonly #kinds: KindFollowers;
  readonly #secrets: PullSecretReader;
  readonly #looks: Repeat;
  #areSecretsAwaited = false;
  readonly #objects = new Map<string, StoredObject>();
  readonly #sources = new Map<string, AnyObject>();
  #onHint: (hint: StoreHint) => void = () => undefined;
  #isDirty = false;
  #peersKnown: Promise<void> | undefined;
  #arePeersKnown = false;
  #servicesKnown: Promise<void> | undefined;
  #areServicesKnown = false;
  /** Keys of objects that need the Services. */
  readonly #asking = new Set<string>();

  constructor(options: ClusterStoreOptions) {
    const { client, nodeName, kinds, timing, onNotice } = options;
    this.#options = options;
    this.place = client.server;
    this.#secrets = new PullSecretReader(client, onNotice);
    this.#looks = new Repeat({
      paceMs: 1000,
      run: () => this.#lookAtSecrets(),
      onFailure: (error) => onNotice(errorText(error)),
    });
    const core = { group: "", version: "v1" };
    const shared = {
      client,
      timing,
      onNotice,
      onSee: (kind: KindName, object: AnyObject, isGone: boolean): void => this.#see(kind, object, isGone),
    };
    this.#own = [
      new FollowedCollection(
        shared,
        { group: "", kind: "Node" },
        { ...core, plural: "nodes", name: nodeName },
        trimNode,
      ),
      new FollowedCollection(shared, { group: "", kind: "Pod" }, { ...core, plural: "pods" }, trimPod, {
        fieldSelector: `spec.nodeName=${nodeName},status.phase!=Succeeded,status.phase!=Failed`,
        policy: byIndex,
      }),
    ];
    this.#peers = [
      new FollowedCollection(
        shared,
        { group: "", kind: "Namespace" },
        { ...core, plural: "namespaces" },
        trimNamespace,
      ),
      new FollowedCollection(
        shared,
        { group: "bpfleet.io", kind: "AddressSlice" },
        { group: "bpfleet.io", version: "v1alpha1", plural: "addressslices" },
        trimSlice,
      ),
    ];
    this.#services = [
      new FollowedCollection(shared, { group: "", kind: "Service" }, { ...core, plural: "services" }, trimService),
      new FollowedCollection(
        shared,
        { group: "discovery.k8s.io", kind: "EndpointSlice" },
        { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" },
        trimBackends,
      ),
    ];
    this.#kinds = new KindFollowers({
      client,
      kinds,
      timing,
      onNotice,
      lookMs: options.lookMs,
      follow: (kind, { isLate, longestUnknownWaitMs }) => {
        options.onFollow?.(kind);
        if (kind.source.speaksOfPeers === true) this.#followPeers();
        const { group, version, plural } = kind;
        return new FollowedCollection(shared, kind, { group, version, plural }, trimDeclared, {
          policy: { ...(isLate && fromMemory), longestUnknownWaitMs },
        });
      },
    });
  }

  /** About how many nodes the fleet has. */
  get nodes(): number {
    return this.#kinds.nodes;
  }

  /** Resolves when all that there is was read once. */
  async follow(onHint: (hint: StoreHint) => void): Promise<Disposable> {
    this.#onHint = onHint;
    const own = this.#own.map((each) => each.start().known);
    const { promise, reject } = Promise.withResolvers<never>();
    const { signal } = this.#options;
    const abort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted === true) abort();
    const declared = this.#kinds.start().then(() => Promise.all([this.#peersKnown, this.#servicesKnown]));
    await Promise.race([Promise.all([...own, declared]), promise]);
    signal?.removeEventListener("abort", abort);
    this.#looks.ask(this.#lookMs());
    return {
      [Symbol.dispose]: () => {
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
    const known = [...this.#objects].filter(
      ([key, { ref }]) =>
        (this.#arePeersKnown || !this.#speaksOfPeers(ref)) && (this.#areServicesKnown || !this.#asking.has(key)),
    );
    const objects = [...known.map(([, object]) => object), ...this.#secrets.objects()];
    return { objects: objects.toSorted((a, b) => (a.path < b.path ? -1 : 1)), broken: [] };
  }

  pathOf(ref: ObjectRef): string {
    return refKey(ref);
  }

  fetchSecrets(names: readonly string[]): Promise<boolean> {
    return this.#secrets.fetch(names);
  }

  awaitSecrets(isAwaited: boolean): void {
    if (isAwaited === this.#areSecretsAwaited) return;
    this.#areSecretsAwaited = isAwaited;
    if (isAwaited) this.#looks.ask(this.#lookMs());
  }

  /** As the server has it, whatever becomes of it here. */
  find(ref: ObjectRef): AnyObject | undefined {
    return this.#sources.get(refKey(ref));
  }

  /** Why something is not followed, when that has been so for a while. */
  fault(): ApiError | undefined {
    const peers = this.#peersKnown === undefined ? [] : this.#peers;
    const services = this.#servicesKnown === undefined ? [] : this.#services;
    for (const followed of [...this.#own, ...peers, ...services, ...this.#kinds.followed()]) {
      const fault = followed.fault();
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#own, ...this.#peers, ...this.#services, this.#kinds, this.#looks];
    await Promise.all(all.map((each) => each[Symbol.asyncDispose]()));
  }

  /** Nodes that were started together do not ask together. */
  #lookMs(): number {
    const soonMs = Math.min(secretsMs, Math.max(awaitedMs, awaitedMsPerNode * this.nodes));
    return (this.#areSecretsAwaited ? soonMs : secretsMs) * (0.8 + 0.4 * Math.random());
  }

  async #lookAtSecrets(): Promise<void> {
    if (await this.#secrets.refresh()) {
      this.#isDirty = true;
      this.#onHint("anything");
    }
    this.#looks.ask(this.#lookMs());
  }

  #followPeers(): void {
    this.#peersKnown ??= Promise.all(this.#peers.map((each) => each.start().known)).then(() => {
      this.#arePeersKnown = true;
      this.#isDirty = true;
      this.#onHint("anything");
    });
    this.#peersKnown.catch(() => undefined);
  }

  #followServices(): void {
    this.#servicesKnown ??= Promise.all(this.#services.map((each) => each.start().known)).then(() => {
      this.#areServicesKnown = true;
      this.#isDirty = true;
      this.#onHint("anything");
    });
    this.#servicesKnown.catch(() => undefined);
  }

  #speaksOfPeers({ group, kind }: ObjectRef): boolean {
    return this.#options.kinds.some(
      (each) => each.group === group && each.kind === kind && each.source.speaksOfPeers === true,
    );
  }

  #see({ group, kind }: KindName, object: AnyObject, isGone: boolean): void {
    const { name, namespace = "", deletionTimestamp } = object.metadata;
    const ref: ObjectRef = { group, kind, namespace, name };
    const key = refKey(ref);
    if (isGone) this.#sources.delete(key);
    else this.#sources.set(key, object);
    this.#asking.delete(key);
    if (!isGone && this.#speaksOfPeers(ref) && asksForServices(object)) {
      this.#asking.add(key);
      this.#followServices();
    }
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
