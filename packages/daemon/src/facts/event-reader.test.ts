import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetlinkEvent } from "@bpfleet/native";
import { until } from "../testing/until.ts";
import { EventReader, type EventReaderOptions, type EventSource } from "./event-reader.ts";

/** Gives what it is told to, as a netlink socket does: broken, it rejects for ever. */
class GivenSource implements EventSource {
  readonly #given: (NetlinkEvent | Error)[] = [];
  #broken: Error | undefined;
  #wake: (() => void) | undefined;
  isClosed = false;
  closes: Promise<void> = Promise.resolve();

  give(event: NetlinkEvent | Error): void {
    this.#given.push(event);
    this.#wake?.();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#wake?.();
    await this.closes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NetlinkEvent, void, undefined> {
    while (!this.isClosed) {
      if (this.#broken !== undefined) throw this.#broken;
      const next = this.#given.shift();
      if (next instanceof Error) this.#broken = next;
      else if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

const datagram = (byte: number): NetlinkEvent => ({ kind: "data", data: Buffer.of(byte) });

function read(more: Partial<EventReaderOptions> = {}) {
  const sources: GivenSource[] = [];
  const said: string[] = [];
  const reader = new EventReader({
    open: () => {
      sources.push(new GivenSource());
      return sources.at(-1)!;
    },
    onEvent: ({ data }) => void said.push(`${data[0]}`),
    onAnew: () => void said.push("anew"),
    onTrouble: (error) => void said.push((error as Error).message),
    reopenMs: 1,
    ...more,
  });
  reader.start();
  const hasSaid = (what: string) => until(`it says ${what}`, () => said.includes(what));
  return { reader, sources, said, hasSaid };
}

test("EventReader opens another source for one that broke, and for one that overran", async () => {
  const { reader, sources, said, hasSaid } = read();
  sources[0]!.give(datagram(1));
  sources[0]!.give(new Error("broken"));
  await until("there is another source", () => sources.length === 2);
  sources[1]!.give(datagram(2));
  sources[1]!.give({ kind: "overrun" });
  await until("there is another source", () => sources.length === 3);
  sources[2]!.give(datagram(3));
  await hasSaid("3");
  assert.deepEqual(said, ["1", "broken", "anew", "2", "anew", "3"]);
  assert.deepEqual(
    sources.map(({ isClosed }) => isClosed),
    [true, true, false],
  );
  await reader[Symbol.asyncDispose]();
  assert.equal(sources[2]!.isClosed, true);
});

test("EventReader begins anew after an event that could not be followed", async () => {
  const { reader, sources, said, hasSaid } = read({
    onEvent: ({ data }) => {
      if (data[0] === 1) throw new Error("lost");
      said.push(`${data[0]}`);
    },
  });
  sources[0]!.give(datagram(1));
  await hasSaid("anew");
  sources[1]!.give(datagram(2));
  await hasSaid("2");
  assert.deepEqual(said, ["lost", "anew", "2"]);
  await reader[Symbol.asyncDispose]();
});

test("EventReader hears nothing of a source from which it could not begin", async () => {
  let begun = 0;
  const { reader, sources, said, hasSaid } = read({
    onAnew: () => {
      if (begun++ === 0) throw new Error("no list");
      said.push("anew");
    },
  });
  sources[0]!.give({ kind: "overrun" });
  await hasSaid("anew");
  assert.deepEqual(said, ["no list", "anew"]);
  assert.equal(sources.length, 3);
  assert.equal(sources[1]!.isClosed, true);
  await reader[Symbol.asyncDispose]();
});

test(
  "EventReader ends while it waits for a source to close, and while it waits to open one",
  { timeout: 60_000 },
  async () => {
    const closing = read();
    const { promise, resolve } = Promise.withResolvers<void>();
    closing.sources[0]!.closes = promise;
    closing.sources[0]!.give({ kind: "overrun" });
    await until("it is being closed", () => closing.sources[0]!.isClosed);
    const ended = closing.reader[Symbol.asyncDispose]();
    resolve();
    await ended;
    assert.equal(closing.sources.length, 1);

    const waiting = read({ reopenMs: 600_000 });
    waiting.sources[0]!.give(new Error("broken"));
    await waiting.hasSaid("broken");
    await waiting.reader[Symbol.asyncDispose]();
    assert.equal(waiting.sources.length, 1);
  },
);
