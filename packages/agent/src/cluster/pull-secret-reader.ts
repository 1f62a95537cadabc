import { refKey, type ObjectRef } from "@bpfleet/base";
import { isApiError, type AnyObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { storedOf } from "./object-of-server.ts";
import type { StoredObject } from "../store/stored-object.ts";

/** Namespaces in which the documents keep pull secrets. */
const namespaces = ["bpfd", "kube-system"] as const;
const timeoutMs = 5000;

/**
 * Reads Secrets by their names, one by one: nobody's list of Secrets is asked for. They are kept in memory, for as long
 * as something names them.
 */
export class PullSecretReader {
  readonly #client: KubeClient;
  readonly #onNotice: (notice: string) => void;
  readonly #found = new Map<string, StoredObject>();
  #wanted: readonly string[] = [];
  #isRead = true;

  constructor(client: KubeClient, onNotice: (notice: string) => void) {
    this.#client = client;
    this.#onNotice = onNotice;
  }

  objects(): readonly StoredObject[] {
    return [...this.#found.values()];
  }

  /** Secrets `namespace/name`: also those of that name in the other namespaces. Whether other ones are there now. */
  async fetch(names: readonly string[]): Promise<boolean> {
    const wanted = [...new Set(names.map((name) => name.slice(name.indexOf("/") + 1)))].toSorted();
    if (this.#isRead && wanted.join() === this.#wanted.join()) return false;
    this.#wanted = wanted;
    return this.refresh();
  }

  /** Reads the same ones once more. Whether other ones are there now. */
  async refresh(): Promise<boolean> {
    const before = this.#text();
    const refs = this.#wanted.flatMap((name) =>
      namespaces.map((namespace): ObjectRef => ({ group: "", kind: "Secret", namespace, name })),
    );
    const kept = new Set(refs.map(refKey));
    for (const key of this.#found.keys()) if (!kept.has(key)) this.#found.delete(key);
    const answered = await Promise.all(refs.map((ref) => this.#read(ref)));
    this.#isRead = answered.every((each) => each);
    return this.#text() !== before;
  }

  /** Whether the server answered. What it does not, stays as it was. */
  async #read(ref: ObjectRef): Promise<boolean> {
    const { namespace, name } = ref;
    const key = refKey(ref);
    try {
      const secret = await this.#client.find<AnyObject>(
        { group: "", version: "v1", plural: "secrets", namespace, name },
        { timeoutMs },
      );
      if (secret === undefined) this.#found.delete(key);
      else if (this.#found.get(key)?.object.metadata.resourceVersion !== secret.metadata.resourceVersion)
        this.#found.set(key, storedOf(ref, key, secret));
      return true;
    } catch (error) {
      if (!isApiError(error)) throw error;
      // What may not be read is not there; a server that has just started may say so of what may be read, too.
      if (error.status === 403) return true;
      this.#onNotice(error.message);
      return false;
    }
  }

  #text(): string {
    return JSON.stringify(
      [...this.#found].map(([key, { object }]) => [key, object.metadata.uid, object.metadata.resourceVersion]),
    );
  }
}
