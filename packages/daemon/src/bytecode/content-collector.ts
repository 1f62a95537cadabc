import type { NodeFacts, NodePlan } from "@bpfleet/kernel";
import { isDigest, type ContentStore, type Digest } from "@bpfleet/oci/local";

const objectPrefix = "bytecode/";

/** SHA-256 of the objects that this plan, the earlier ones and what was fetched need, as digests of the store. */
export function objectsInUse(plan: NodePlan, { earlierPlans = {}, bytecode = {} }: NodeFacts): Set<Digest> {
  const parts = [plan, ...Object.values(earlierPlans)];
  const named = parts.flatMap(({ programs, maps }) => [
    ...programs.map(({ object }) => object.name),
    ...maps.flatMap(({ declaredIn }) => declaredIn?.object.name ?? []),
  ]);
  const planned = named.filter((name) => name.startsWith(objectPrefix)).map((name) => name.slice(objectPrefix.length));
  const fetched = Object.values(bytecode).flatMap((found) => {
    const ready = found.state === "failed" ? found.earlier : found;
    return ready?.state === "ready" ? ready.objectDigest : [];
  });
  return new Set([...planned, ...fetched].map((hex) => `sha256:${hex}`).filter(isDigest));
}

export interface CollectorOptions {
  readonly store: Pick<ContentStore, "collect">;
  /** `undefined` as long as nobody can tell. */
  readonly inUse: () => ReadonlySet<Digest> | undefined;
  readonly onTrouble: (error: unknown) => void;
  readonly now: () => number;
  readonly everyMs?: number | undefined;
  /** After a change, so that many in a row are one. */
  readonly quietMs?: number | undefined;
}

/** Removes from the content store what nothing needs any more: now and then, and after changes. */
export class ContentCollector implements AsyncDisposable {
  readonly #options: CollectorOptions;
  readonly #timer: NodeJS.Timeout;
  #soon: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#start(), options.everyMs ?? 3_600_000);
    this.#timer.unref();
  }

  changed(): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#start(), this.#options.quietMs ?? 30_000);
    this.#soon.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    await this.#work;
  }

  #start(): void {
    this.#work = this.#work.then(() => this.#collect()).catch(this.#options.onTrouble);
  }

  async #collect(): Promise<void> {
    const { store, inUse, now } = this.#options;
    const digests = inUse();
    if (digests !== undefined) await store.collect(digests, now());
  }
}
