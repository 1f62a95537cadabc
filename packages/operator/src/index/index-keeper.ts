import { collectionOf, fleetIndexPlace, parseFleetIndex, renderFleetIndex, type DefinedKind } from "@bpfleet/kinds";
import { canonicalJson } from "@bpfleet/base";
import { awaitChange, recheckAfter, type AnyObject, type ApiError, type Outcome } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";
import { fieldManager, madeByOperator } from "../desired/names.ts";
import type { NodeRegister } from "../nodes/node-register.ts";
import { kindPolicy, resources } from "../reconcile/resources.ts";
import type { Activity } from "../run/activity.ts";
import { LeadingController } from "../run/leading-controller.ts";
import type { Part, Teller } from "../run/part.ts";
import { namedCollections } from "./named-collections.ts";

/** What is known of one collection. */
export interface Collection {
  readonly kind: DefinedKind;
  readonly informer: Pick<Informer<AnyObject>, "size" | "isSynced" | "onChange"> & {
    readonly fault: ApiError | undefined;
  };
}

export interface IndexKeeperOptions {
  readonly client: KubeClient;
  /** Kinds that nodes follow. */
  readonly kinds: readonly DefinedKind[];
  /** Those of them that are followed here already. */
  readonly collections: readonly Collection[];
  readonly nodes: NodeRegister;
  readonly teller: Teller;
  readonly timing: Timing;
  readonly activity: Activity;
  /** A collection stays in the index for so long after its last object. */
  readonly lingerMs?: number | undefined;
}

const key = "index";
const usualLingerMs = 600_000;
/** Objects of several kinds that come at once are one write. */
const gatherMs = 20;
const nodesPaceMs = 10_000;
/** A new leader waits so long at most for what is not read yet, before it says that there may be objects. */
const patienceMs = 30_000;
const readMs = 100;

/** Tells agents of which kinds there are objects, so that each need not watch every kind. */
export class IndexKeeper implements Part {
  readonly name = "index";
  readonly #options: IndexKeeperOptions;
  readonly #collections: readonly Collection[];
  readonly #own: readonly Informer<AnyObject>[];
  readonly #index: Informer<AnyObject>;
  /** Since when there is nothing in a collection that the index names. */
  readonly #emptySince = new Map<string, number>();
  readonly #work: LeadingController;
  #leadsSince = 0;

  constructor(options: IndexKeeperOptions) {
    this.#options = options;
    this.#work = new LeadingController({
      name: this.name,
      timing: options.timing,
      teller: options.teller,
      reconcile: (_key, stop) => this.#keep(stop),
    });
    const { client, kinds, collections, nodes, teller } = options;
    const followed = new Set(collections.map(({ kind }) => kind));
    const rest = kinds
      .filter((kind) => !followed.has(kind))
      .map((kind) => ({
        kind,
        informer: createInformer<AnyObject>(client, {
          resource: { group: kind.group, version: kind.version, plural: kind.plural },
          transform: headerOf,
          policy: kindPolicy,
          onFault: (error) => teller.fault(error),
        }),
      }));
    this.#collections = [...collections, ...rest];
    this.#own = rest.map(({ informer }) => informer);
    for (const { informer } of this.#collections)
      informer.onChange(({ type }) => {
        if (type === "added" ? informer.size === 1 : informer.size === 0) this.#work.addAfter(key, gatherMs);
      });
    this.#index = createInformer<AnyObject>(client, {
      resource: { ...resources.configMaps, ...fleetIndexPlace },
      onFault: (error) => teller.fault(error),
    });
    this.#index.onChange(() => this.#work.add(key));
    nodes.onChange(() => this.#work.addAfter(key, nodesPaceMs));
    for (const informer of [...this.#own, this.#index]) informer.start();
  }

  async lead(signal: AbortSignal): Promise<void> {
    const { nodes, timing } = this.#options;
    await Promise.all([this.#index.synced(signal), nodes.synced(signal)]);
    this.#emptySince.clear();
    this.#leadsSince = timing.monotonicMs();
    await this.#work.lead(signal, () => this.#work.add(key));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#own, this.#index].map((informer) => informer.stop()));
  }

  async #keep(signal: AbortSignal): Promise<Outcome> {
    const { client, nodes, teller, timing, activity, lingerMs = usualLingerMs } = this.#options;
    if (!activity.isServing) return activity.askAgain();
    const live = this.#index.list()[0];
    const sights = this.#collections.map(({ kind, informer }) => ({
      name: collectionOf(kind),
      // The server does not know the kind: that is as good as empty.
      isEmpty: informer.isSynced ? informer.size === 0 : informer.fault?.isNotFound === true,
      isKnown: informer.isSynced || informer.fault?.isNotFound === true,
    }));
    const now = timing.monotonicMs();
    const before = parseFleetIndex(live?.["data"])?.collections;
    const isPatient = now - this.#leadsSince < patienceMs && sights.some(({ isKnown }) => !isKnown);
    if (isPatient && before === undefined) return recheckAfter(readMs);
    // What is not read yet stays as the last leader told it.
    const seen = sights.map((sight) =>
      isPatient && !sight.isKnown ? { ...sight, isEmpty: before?.has(sight.name) !== true } : sight,
    );
    const named = namedCollections(seen, before, this.#emptySince, now, lingerMs);
    const data = renderFleetIndex({ collections: named.collections, nodes: nodes.size });
    if (canonicalJson(live?.["data"]) !== canonicalJson(data)) {
      const { namespace, name } = fleetIndexPlace;
      await client.apply<AnyObject>(
        { ...resources.configMaps, namespace, name },
        {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name, namespace, labels: madeByOperator },
          data,
        } as AnyObject,
        { fieldManager, isForced: true, signal },
      );
      teller.wrote("apply", `ConfigMap ${name}`);
    }
    if (isPatient) return recheckAfter(readMs);
    return named.againMs === undefined ? awaitChange : recheckAfter(named.againMs);
  }
}

function headerOf({ apiVersion, kind, metadata: { name, namespace, uid, resourceVersion } }: AnyObject): AnyObject {
  return { apiVersion, kind, metadata: { name, namespace, uid, resourceVersion } };
}
