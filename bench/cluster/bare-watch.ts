import type { AnyObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";

type ResourceAddress = Parameters<KubeClient["watch"]>[0];

/** A watch and nothing else: what the API server itself takes until it tells of a change. */
export class BareWatch implements AsyncDisposable {
  readonly #seen = new Map<string, PromiseWithResolvers<number>>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(client: KubeClient, address: ResourceAddress) {
    this.#running = this.#run(client, address);
  }

  /** When it was told of this resource version, by performance.now(). */
  when(resourceVersion: string): Promise<number> {
    return this.#entry(resourceVersion).promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  #entry(resourceVersion: string): PromiseWithResolvers<number> {
    const entry = this.#seen.get(resourceVersion) ?? Promise.withResolvers<number>();
    this.#seen.set(resourceVersion, entry);
    return entry;
  }

  async #run(client: KubeClient, address: ResourceAddress): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const { object } of client.watch<AnyObject>(address, { signal }))
          this.#entry(object.metadata.resourceVersion ?? "").resolve(performance.now());
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }
}
