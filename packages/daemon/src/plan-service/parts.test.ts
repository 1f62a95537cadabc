import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { BytesPartSchema, type BytesPart } from "@bpfleet/wire";
import { cutValue, readValue } from "./parts.ts";

async function* come(parts: Iterable<BytesPart>): AsyncGenerator<BytesPart> {
  yield* parts;
}

test("readValue gives what cutValue was given, whatever its size", async () => {
  for (const value of [null, [], "x".repeat(300_000)])
    assert.deepEqual(await readValue("it", come(cutValue(value, "s")), () => undefined), value);
});

test("readValue names what is too large, how large it is, and what helps", async () => {
  const bytes = new Uint8Array(64 << 20);
  const parts = Array.from({ length: 5 }, () => create(BytesPartSchema, { session: "s", bytes }));
  await assert.rejects(
    readValue("the counters", come(parts), () => undefined),
    /read the counters: 335544320 bytes and more, where at most 268435456 cross between agent and daemon; declare less/,
  );
});
