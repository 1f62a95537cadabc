import assert from "node:assert/strict";
import { test } from "node:test";
import type { BytecodeFacts, NodeFacts } from "@bpfleet/kernel";
import { awaitImages } from "./await-images.ts";

class Fetching {
  #listener: ((facts: NodeFacts) => void) | undefined;
  #bytecode: Record<string, BytecodeFacts> = {};

  set(name: string, facts: BytecodeFacts): void {
    this.#bytecode = { ...this.#bytecode, [`image://${name}?pull=Always&secret=`]: facts };
    this.#listener?.(this.facts());
  }
  facts(): NodeFacts {
    return { bytecode: this.#bytecode } as unknown as NodeFacts;
  }
  onFacts(listener: (facts: NodeFacts) => void): () => void {
    this.#listener = listener;
    return () => (this.#listener = undefined);
  }
}

const failed = { state: "failed", reason: "ImagePullFailed", message: "pull: no" } as const;

test("awaitImages waits until every image has come or has failed", async () => {
  const daemon = new Fetching();
  const { signal } = new AbortController();
  assert.deepEqual(await awaitImages(daemon, { timeoutMs: 60_000, signal }), []);
  daemon.set("quay.io/a:1", { state: "fetching" });
  daemon.set("quay.io/b:1", { state: "fetching" });
  const waiting = awaitImages(daemon, { timeoutMs: 60_000, signal });
  daemon.set("quay.io/a:1", failed);
  assert.equal(await Promise.race([waiting, Promise.resolve("still")]), "still");
  daemon.set("quay.io/b:1", failed);
  assert.deepEqual(await waiting, []);
});

test("awaitImages names what has not come in time, or when it is interrupted", async () => {
  const daemon = new Fetching();
  daemon.set("quay.io/a:1", { state: "fetching" });
  const interrupt = new AbortController();
  const { signal } = interrupt;
  assert.deepEqual(await awaitImages(daemon, { timeoutMs: 5, signal }), ["quay.io/a:1"]);
  const waiting = awaitImages(daemon, { timeoutMs: 60_000, signal });
  interrupt.abort();
  assert.deepEqual(await waiting, ["quay.io/a:1"]);
});
