import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetlinkEvent } from "@bpfleet/native";
import { NamespaceQuery, type QuerySocket } from "./namespace-query.ts";

const done = 3;

/** Answers each list with its end, as if there were nothing; or breaks, and then rejects for ever. */
class EmptySocket implements QuerySocket {
  readonly #answers: NetlinkEvent[] = [];
  readonly #breaks: boolean;
  isClosed = false;

  constructor({ breaks }: { readonly breaks: boolean }) {
    this.#breaks = breaks;
  }

  async send(bytes: Uint8Array): Promise<void> {
    const data = Buffer.alloc(20);
    data.writeUInt32LE(20, 0);
    data.writeUInt16LE(done, 4);
    data.writeUInt32LE(Buffer.from(bytes).readUInt32LE(8), 8);
    this.#answers.push({ kind: "data", data });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NetlinkEvent, void, undefined> {
    for (;;) {
      if (this.#breaks) throw new Error("broken");
      const answer = this.#answers.shift();
      if (answer === undefined) return;
      yield answer;
    }
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

test("NamespaceQuery asks by another socket when one broke", async () => {
  const sockets: EmptySocket[] = [];
  const query = new NamespaceQuery(() => {
    sockets.push(new EmptySocket({ breaks: sockets.length === 0 }));
    return sockets.at(-1)!;
  });
  await assert.rejects(query.links(), /broken/);
  assert.deepEqual(await query.links(), []);
  assert.deepEqual(await query.links(1), []);
  await query[Symbol.asyncDispose]();
  assert.deepEqual(
    sockets.map(({ isClosed }) => isClosed),
    [true, true],
  );
});
