import { recheckAfter, type Outcome } from "@bpfleet/kube";

/** Whether the fleet is to be served, or everything is being taken away; one part decides, the others ask. */
export class Activity {
  #state: "unknown" | "serving" | "leaving" = "unknown";

  get isServing(): boolean {
    return this.#state === "serving";
  }

  decide(isServing: boolean): void {
    this.#state = isServing ? "serving" : "leaving";
  }

  /** A new leader knows nothing yet. */
  forget(): void {
    this.#state = "unknown";
  }

  /** When to ask again, while nothing is to be made. */
  askAgain(): Outcome {
    return recheckAfter(this.#state === "unknown" ? 100 : 2000);
  }
}
