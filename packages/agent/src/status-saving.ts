import { getSystemErrorMessage } from "node:util";
import { errorText } from "@bpfleet/base";

/** Status goes to disk when it changed: one writing at a time, and the last state is always written. */
export class StatusSaving {
  readonly #save: () => Promise<void>;
  readonly #tell: (notice: string) => void;
  #isDue = false;
  #isClosed = false;
  #saves: Promise<void> = Promise.resolve();

  constructor(save: () => Promise<void>, tell: (notice: string) => void) {
    this.#save = save;
    this.#tell = tell;
  }

  /** What was asked for so far is written. */
  get done(): Promise<void> {
    return this.#saves;
  }

  soon(): void {
    if (this.#isDue || this.#isClosed) return;
    this.#isDue = true;
    this.#saves = this.#saves.then(async () => {
      this.#isDue = false;
      try {
        await this.#save();
      } catch (error) {
        this.#tell(`keep status: ${systemText(error)}`);
      }
    });
  }

  /** Nothing more is asked for. */
  close(): void {
    this.#isClosed = true;
  }
}

/** Without names of drafts, which are others each time. */
export function systemText(error: unknown): string {
  if (!(error instanceof Error) || !("errno" in error) || !("code" in error)) return errorText(error);
  return `${getSystemErrorMessage(Number(error.errno))} (${String(error.code)})`;
}
