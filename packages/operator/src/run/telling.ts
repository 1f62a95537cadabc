import { errorText, SaidLately } from "@bpfleet/base";
import { isApiError, referenceTo, type AnyObject, type Happening } from "@bpfleet/kube";
import type { EventRecorder } from "@bpfleet/kube-client";
import { Counters } from "../metrics/operator-metrics.ts";
import type { Teller } from "./part.ts";

export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** Where everything that parts tell is logged and counted. */
export class Telling implements Teller {
  readonly #log: (line: LogLine) => void;
  readonly #counters = new Counters();
  readonly #notes = saidLately();
  readonly #faults = saidLately();

  readonly #recorder: Pick<EventRecorder, "record">;

  constructor(log: (line: LogLine) => void, recorder: Pick<EventRecorder, "record">) {
    this.#log = log;
    this.#recorder = recorder;
  }

  happened(regarding: AnyObject, happening: Omit<Happening, "regarding">): void {
    this.#recorder.record({ regarding: referenceTo(regarding), ...happening });
  }

  wrote(verb: string, what: string, because?: string): void {
    const [kind = ""] = what.split(" ");
    this.#counters.add("bpfleet_operator_writes_total", "What was written to the API server.", { verb, kind });
    const level = verb === "status" || because === undefined ? "debug" : "info";
    this.#log({ level, message: `${verb} ${what}${because === undefined ? "" : `: ${because}`}` });
  }

  failed(part: string, { key, error }: { readonly key: string; readonly error: unknown }): void {
    const reason = isApiError(error) ? error.reason : "Internal";
    this.#counters.add("bpfleet_operator_errors_total", "Work that failed and is tried again.", { part, reason });
    // Somebody was faster: it is read and done again, and nobody need know.
    const level = isApiError(error) && error.isConflict ? "debug" : "warn";
    this.#log({ level, message: `${part}${key === "" ? "" : ` ${key}`}: ${errorText(error)}` });
  }

  fault(error: Error): void {
    this.#counters.add(
      "bpfleet_operator_faults_total",
      "Lists and watches that broke and were begun again, and objects that could not be read.",
      {
        reason: isApiError(error) ? error.reason : "Internal",
      },
    );
    // A kind whose CRD is not there yet is followed as soon as it is.
    const level = isApiError(error) && error.isNotFound ? "debug" : "warn";
    if (this.#faults.isNews(error.message)) this.#log({ level, message: error.message });
  }

  note(text: string): void {
    if (this.#notes.isNews(text)) this.#log({ level: "info", message: text });
  }

  families(): ReturnType<Counters["families"]> {
    return this.#counters.families();
  }
}

/** The same text is told again only after ten minutes. */
function saidLately(): SaidLately {
  return new SaidLately({ monotonicMs: () => performance.now() }, { forMs: 600_000, most: 1000 });
}
