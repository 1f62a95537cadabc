import type { NodeReport, ObjectEvent, ObjectReport } from "@bpfleet/agent";
import { canonicalJson, type ObjectRef } from "@bpfleet/base";
import { apiVersionOf, type Kind, type KubeObject } from "@bpfleet/kinds";
import { isApiError, type AnyObject, type ResourceAddress } from "@bpfleet/kube";
import { connectKube, loadAccess, type KubeClient } from "@bpfleet/kube-client";
import { Failure } from "../failure.ts";
import type { AdmittedObject } from "../manifests/admit-objects.ts";
import type { ResourceWish } from "../resources/resource-args.ts";
import type { Scope } from "../resources/select-objects.ts";
import type { World } from "../world.ts";
import type { ClusterPlace } from "./cluster-place.ts";

const fieldManager = "ebpfctl";

export interface ApplyFlags {
  readonly isDryRun: boolean;
  /** Takes fields over that others manage. */
  readonly isForced: boolean;
}

export type Outcome = "created" | "configured" | "unchanged";

/** The objects of a cluster, as its API server has them, for one command. */
export class ClusterObjects implements AsyncDisposable {
  readonly #client: KubeClient;

  private constructor(client: KubeClient) {
    this.#client = client;
  }

  static open({ kubeconfig, context }: ClusterPlace, { env, err }: World): ClusterObjects {
    return explained(() => {
      const access = loadAccess({ env, kubeconfig, context, hasTerminal: err.isTerminal });
      return new ClusterObjects(connectKube(access));
    });
  }

  /** That of the kubeconfig's context. */
  get namespace(): string {
    return this.#client.namespace;
  }

  /** What is asked for, with what became of it on all nodes. */
  async read(wishes: readonly ResourceWish[], scope: Scope, now: string, withEvents = false): Promise<NodeReport> {
    const found = await Promise.all(wishes.map((wish) => this.#find(wish, scope, wishes.length > 1)));
    const objects = found.flat();
    const told = withEvents
      ? await Promise.all(objects.map(async (report) => ({ ...report, events: await this.#eventsOf(report) })))
      : objects;
    return { takenAt: now, isPaused: false, objects: told, broken: [] };
  }

  /** All of one kind; nothing where the server does not have it, or does not let us. */
  async all(kind: Kind): Promise<readonly AnyObject[]> {
    try {
      return await this.#list(collectionOf(kind, undefined));
    } catch (error) {
      if (isApiError(error) && (error.isNotFound || error.isForbidden)) return [];
      throw explain(error);
    }
  }

  /** By server-side apply. */
  async apply({ kind, ref, value }: AdmittedObject, { isDryRun, isForced }: ApplyFlags): Promise<Outcome> {
    const address = collectionOf(kind, ref.namespace);
    try {
      const before = await this.#client.find<AnyObject>({ ...address, name: ref.name });
      const options = { fieldManager, isDryRun, isForced, fieldValidation: "Strict" } as const;
      const after = await this.#client.apply<AnyObject>(address, value as AnyObject, options);
      return before === undefined ? "created" : isSame(before, after) ? "unchanged" : "configured";
    } catch (error) {
      const failure = explain(error);
      if (!isApiError(error) || !error.isConflict) throw failure;
      throw new Failure(`${failure.message}; --force-conflicts takes these fields over`, { cause: error });
    }
  }

  /** Whether it was there. */
  async remove(kind: Kind, ref: ObjectRef, isDryRun: boolean): Promise<boolean> {
    try {
      const address = { ...collectionOf(kind, ref.namespace), name: ref.name };
      return await this.#client.delete(address, { propagation: "Background", isDryRun });
    } catch (error) {
      throw explain(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  async #find({ kind, names }: ResourceWish, scope: Scope, isOneOfMany: boolean): Promise<readonly ObjectReport[]> {
    const address = collectionOf(kind, scope.namespace);
    try {
      const isPlaced = kind.scope === "Cluster" || scope.namespace !== undefined;
      const objects =
        names.length > 0 && isPlaced
          ? await Promise.all(names.map((name) => this.#client.find<AnyObject>({ ...address, name })))
          : await this.#list(address);
      return objects.flatMap((object) => (object === undefined ? [] : [reportOf(kind, object)]));
    } catch (error) {
      if (isApiError(error) && error.isNotFound) {
        if (isOneOfMany) return [];
        throw new Failure(`the server doesn't have a resource type "${kind.plural}"; make install applies the CRDs`);
      }
      throw explain(error);
    }
  }

  async #list(address: ResourceAddress): Promise<readonly AnyObject[]> {
    const all: AnyObject[] = [];
    for await (const page of this.#client.pages<AnyObject>(address, { limit: 500 })) all.push(...page);
    return all;
  }

  async #eventsOf({ ref, object }: ObjectReport): Promise<readonly ObjectEvent[]> {
    const namespace = ref.namespace === "" ? "default" : ref.namespace;
    const fieldSelector = `involvedObject.uid=${object.metadata.uid ?? ""}`;
    const address = { group: "", version: "v1", plural: "events", namespace };
    const found = this.#client.list<AnyObject & CoreEvent>(address, { fieldSelector });
    const { items } = await found.catch((error: unknown) => {
      // Whoever may see the object may be kept from its events.
      if (isApiError(error) && error.isForbidden) return { items: [] };
      throw explain(error);
    });
    return items
      .map((event) => eventOf(event))
      .toSorted((a, b) => (a.lastTimestamp < b.lastTimestamp ? -1 : a.lastTimestamp > b.lastTimestamp ? 1 : 0));
  }
}

function collectionOf(kind: Kind, namespace: string | undefined): ResourceAddress {
  const { group, version, plural } = kind;
  return {
    group,
    version,
    plural,
    ...(kind.scope === "Namespaced" && namespace !== undefined && namespace !== "" && { namespace }),
  };
}

/** As kubectl shows it: without who manages which field. */
function reportOf(kind: Kind, found: AnyObject): ObjectReport {
  const { managedFields: _managed, ...metadata } = found.metadata;
  const object = { ...found, apiVersion: apiVersionOf(kind), kind: kind.kind, metadata } as KubeObject;
  const ref = { group: kind.group, kind: kind.kind, namespace: metadata.namespace ?? "", name: metadata.name };
  return { ref, object, state: "in-force", messages: [], events: [] };
}

/** Whether nothing is different but who manages which field. */
function isSame(before: AnyObject, after: AnyObject): boolean {
  const bare = ({ metadata, ...rest }: AnyObject): string => {
    const { managedFields: _managed, resourceVersion: _version, generation: _generation, ...own } = metadata;
    return canonicalJson({ ...rest, status: undefined, metadata: own });
  };
  return bare(before) === bare(after);
}

/** An event of either API; newer writers fill `series` and `eventTime` instead of the counts and times of before. */
interface CoreEvent {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number | null;
  readonly firstTimestamp?: string | null;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
  readonly series?: { readonly count?: number; readonly lastObservedTime?: string } | null;
}

function eventOf(event: AnyObject & CoreEvent): ObjectEvent {
  const first = event.firstTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? "";
  return {
    type: event.type === "Warning" ? "Warning" : "Normal",
    reason: event.reason ?? "",
    message: event.message ?? "",
    count: event.series?.count ?? event.count ?? 1,
    firstTimestamp: first,
    lastTimestamp: event.series?.lastObservedTime ?? event.lastTimestamp ?? first,
  };
}

function explained<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw explain(error);
  }
}

/** What the server said stands in the message. */
function explain(error: unknown): Error {
  if (isApiError(error)) return new Failure(error.message, { cause: error });
  return error instanceof Error ? error : new Error(String(error));
}
