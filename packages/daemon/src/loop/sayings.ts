import { errorText } from "@bpfleet/base";
import { renderAction, type ActionOutcome } from "@bpfleet/kernel";
import type { Logger } from "pino";

/** Lines of the log about what is done and what is not: what fails again only when it fails in another way. */
export class Sayings {
  readonly #log: Logger;
  readonly #said = new Map<string, string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  action({ action, state, error, isIdle = false }: ActionOutcome): void {
    if (isIdle) return;
    if (state === "done") {
      this.#said.delete(action.id);
      this.#log.info({ what: renderAction(action) }, "done");
    } else if (state === "failed" && this.#said.get(action.id) !== error?.message) {
      this.#said.set(action.id, error?.message ?? "");
      const level = action.do === "inline-hook" ? "info" : "warn";
      this.#log[level](
        { what: renderAction(action), code: error?.code, why: error?.message, retry: error?.retry },
        "not done",
      );
    }
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
