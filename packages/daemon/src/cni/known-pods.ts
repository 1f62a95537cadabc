import { rename, rm, writeFile } from "node:fs/promises";
import type { WishedPods } from "./pod-gate.ts";

/** What the plug-in knows of this node when the daemon does not answer; it outlives reboots. */
export class KnownPods {
  readonly #path: string;
  readonly #onTrouble: (error: unknown) => void;
  #text: string | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, onTrouble: (error: unknown) => void) {
    this.#path = path;
    this.#onTrouble = onTrouble;
  }

  are(wished: WishedPods): void {
    const text = renderKnown(wished);
    if (text === this.#text) return;
    this.#text = text;
    this.#writing = this.#writing.then(() => this.#write(text)).catch(this.#onTrouble);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
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
