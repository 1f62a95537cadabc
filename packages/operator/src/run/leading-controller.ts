import { createController, type Controller, type ControllerOptions } from "@bpfleet/kube-client";
import type { Teller } from "./part.ts";

export interface LeadingControllerOptions extends Omit<ControllerOptions, "onFailure"> {
  readonly teller: Teller;
}

/** Works through keys while its part leads. What is added at other times is dropped: a new leader looks at everything. */
export class LeadingController {
  readonly #options: LeadingControllerOptions;
  #controller: Controller | undefined;

  constructor(options: LeadingControllerOptions) {
    this.#options = options;
  }

  get isLeading(): boolean {
    return this.#controller !== undefined;
  }

  /** Keys that wait to be worked on now. */
  get waiting(): number {
    return this.#controller?.waiting ?? 0;
  }

  add(key: string): void {
    this.#controller?.add(key);
  }

  addAfter(key: string, afterMs: number): void {
    this.#controller?.addAfter(key, afterMs);
  }

  /** Works until the signal is set, and begins with what `first` adds. */
  async lead(signal: AbortSignal, first: () => void): Promise<void> {
    const { teller, ...options } = this.#options;
    const onFailure: ControllerOptions["onFailure"] = (failure) => teller.failed(options.name, failure);
    await using controller = createController({ ...options, onFailure });
    this.#controller = controller;
    try {
      first();
      controller.start();
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      await controller.stop();
    } finally {
      this.#controller = undefined;
    }
  }
}
