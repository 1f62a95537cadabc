import type { DefinedKind } from "@bpfleet/kinds";
import type { AnyObject, ApiError } from "@bpfleet/kube";
import {
  createInformer,
  type Informer,
  type InformerOptions,
  type KubeClient,
  type Timing,
} from "@bpfleet/kube-client";

export type KindName = Pick<DefinedKind, "group" | "kind">;

export interface FollowedOptions {
  readonly client: KubeClient;
  readonly timing?: Timing | undefined;
  readonly onNotice: (notice: string) => void;
  readonly onSee: (kind: KindName, object: AnyObject, isGone: boolean) => void;
}

/** A watch that breaks is there again soon. */
const patienceMs = 15_000;

/** One collection, or one part of it, that an agent follows. */
export class FollowedCollection implements AsyncDisposable {
  /** Resolves when all that there is was read once, or the server does not know the kind. */
  readonly known: Promise<void>;
  readonly #informer: Informer<AnyObject>;
  /** Since when it cannot be followed. */
  #faultyMs: number | undefined;

  constructor(
    options: FollowedOptions,
    kind: KindName,
    resource: Informer["resource"],
    transform: (object: AnyObject) => AnyObject,
    { fieldSelector, policy }: Pick<InformerOptions<AnyObject>, "fieldSelector" | "policy"> = {},
  ) {
    const { client, timing, onNotice, onSee } = options;
    const unknown = Promise.withResolvers<void>();
    const informer = createInformer<AnyObject>(client, {
      resource,
      transform,
      fieldSelector,
      policy,
      ...(timing !== undefined && { timing }),
      onFault: (error) => {
        if (this.isUnknown) unknown.resolve();
        else onNotice(error.message);
        this.fault();
      },
    });
    informer.onChange(({ type, object }) => onSee(kind, object, type === "deleted"));
    this.#informer = informer;
    this.known = Promise.race([informer.synced(), unknown.promise]);
    this.known.catch(() => undefined);
  }

  start(): this {
    this.#informer.start();
    return this;
  }

  /** The server does not know the kind. */
  get isUnknown(): boolean {
    return !this.#informer.isSynced && this.#informer.fault?.isNotFound === true;
  }

  /** Nothing is in it, as far as the server can be believed. */
  get isEmpty(): boolean {
    return this.isUnknown || (this.#informer.isSynced && this.#informer.size === 0);
  }

  /** Why it is not followed, when that has been so for a while. */
  fault(): ApiError | undefined {
    const { fault } = this.#informer;
    if (fault === undefined || this.isUnknown) {
      this.#faultyMs = undefined;
      return undefined;
    }
    const now = performance.now();
    return now - (this.#faultyMs ??= now) > patienceMs ? fault : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#informer.stop();
  }
}
