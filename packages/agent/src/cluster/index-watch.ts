import { fleetIndexPlace, parseFleetIndex, type FleetIndex } from "@bpfleet/kinds";
import type { AnyObject } from "@bpfleet/kube";
import { createInformer, type Informer, type KubeClient, type Timing } from "@bpfleet/kube-client";

/** What the operator tells all agents. Without it, or without the right to read it, an agent looks for itself. */
export class IndexWatch implements AsyncDisposable {
  /** Resolves when it is known whether there is one. */
  readonly known: Promise<void>;
  readonly #informer: Informer<AnyObject>;
  #index: FleetIndex | undefined;

  constructor(client: KubeClient, timing: Timing | undefined, onChange: () => void) {
    const refused = Promise.withResolvers<void>();
    this.#informer = createInformer<AnyObject>(client, {
      resource: { group: "", version: "v1", plural: "configmaps", ...fleetIndexPlace },
      ...(timing !== undefined && { timing }),
      // A server that is away answers nobody else either: that is waited for.
      onFault: (error) => {
        if (error.isForbidden || error.isNotFound) refused.resolve();
      },
    });
    this.#informer.onChange(({ type, object }) => {
      this.#index = type === "deleted" ? undefined : parseFleetIndex(object["data"]);
      onChange();
    });
    this.known = Promise.race([this.#informer.synced(), refused.promise]);
    this.known.catch(() => undefined);
  }

  start(): void {
    this.#informer.start();
  }

  get current(): FleetIndex | undefined {
    return this.#index;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#informer.stop();
  }
}
