import { errorText } from "@bpfleet/base";
import { renderAction, type Action, type ActionOutcome } from "@bpfleet/kernel";
import type { Logger } from "pino";

/** Lines of the log about what is done and what is not: what fails again only when it fails in another way. */
export class Sayings {
  readonly #log: Logger;
  readonly #said = new Map<string, string>();
  /** Why an action was not done, by its id. */
  readonly #refused = new Map<string, string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  action({ action, state, error, isIdle = false }: ActionOutcome): void {
    if (isIdle) return;
    if (state === "done") {
      this.#refused.delete(action.id);
      this.#log.info({ what: renderAction(action) }, "done");
    } else if (state === "failed" && this.#refused.get(action.id) !== error?.message) {
      this.#refused.set(action.id, error?.message ?? "");
      const level = action.do === "inline-hook" ? "info" : "warn";
      this.#log[level](
        { what: renderAction(action), code: error?.code, why: error?.message, retry: error?.retry },
        "not done",
      );
    }
  }

  /** What is not to be done any more is told anew when it is. */
  areAll(actions: readonly Action[]): void {
    if (this.#refused.size === 0) return;
    const ids = new Set(actions.map(({ id }) => id));
    for (const id of this.#refused.keys()) if (!ids.has(id)) this.#refused.delete(id);
  }

  failed(what: string, error: unknown): void {
    const why = errorText(error);
    if (this.#said.get(what) === why) return;
    this.#said.set(what, why);
    this.#log.error({ what, why }, "not done");
  }

  works(what: string): void {
    if (this.#said.delete(what)) this.#log.info({ what }, "done");
  }
}
