import { rename, rm, writeFile } from "node:fs/promises";
import { cannotWrite } from "../state/state-file.ts";
import type { WishedPods } from "./pod-gate.ts";

/** What it does not know may start without its policy where the daemon does not answer either: the disk is asked again. */
const retryMs = 10_000;

/** What the plug-in knows of this node when the daemon does not answer; it outlives reboots. */
export class KnownPods {
  readonly #path: string;
  readonly #onTrouble: (error: unknown) => void;
  #text: string | undefined;
  #writing: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #isTold = false;

  constructor(path: string, onTrouble: (error: unknown) => void) {
    this.#path = path;
    this.#onTrouble = onTrouble;
  }

  are(wished: WishedPods): void {
    const text = renderKnown(wished);
    if (text === this.#text) return;
    this.#text = text;
    this.#begin(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
    clearTimeout(this.#retry);
  }

  #begin(text: string): void {
    this.#writing = this.#writing.then(async () => {
      try {
        await this.#write(text);
        this.#isTold = false;
      } catch (error) {
        if (!this.#isTold) this.#onTrouble(cannotWrite(this.#path, error));
        this.#isTold = true;
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.#begin(text), retryMs).unref();
      }
    });
  }

  async #write(text: string): Promise<void> {
    if (text !== this.#text) return;
    const draft = `${this.#path}.new`;
    try {
      await writeFile(draft, text, { mode: 0o600, flush: true });
      await rename(draft, this.#path);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }
}

/** Read by `known.rs` of the plug-in. */
export function renderKnown({ wishes, reach }: WishedPods): string {
  const lines = wishes.flatMap(({ pod, isSelected }) => {
    if (pod === undefined) return [];
    const uids = pod.uids.length === 0 ? ["-"] : pod.uids;
    return uids.map((uid) => `pod ${pod.namespace} ${pod.name} ${uid} ${isSelected === true ? "selected" : "free"}`);
  });
  const reached = reach === "everywhere" ? ["*"] : reach;
  return `${["bpfleet-cni 1", ...lines, ...reached.map((each) => `reach ${each}`)].join("\n")}\n`;
}
