import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import {
  decodeValue,
  DocumentReader,
  encodeDifference,
  encodeValue,
  FrameSchema,
  MalformedDocument,
  OtherBase,
  outlineOf,
  outlineOfHeld,
  type Frame,
  type HeldDocument,
  type OutgoingItem,
} from "../mod.ts";

const hash = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex");
const options = { hash, decode: decodeValue, largestBytes: 1 << 24 };

function item(section: string, key: string, value: unknown): OutgoingItem {
  const body = encodeValue(value);
  return { section, key, fingerprint: hash(body), body };
}

/** Over the wire, byte for byte. */
function send(base: readonly OutgoingItem[] | undefined, items: readonly OutgoingItem[]): readonly Frame[] {
  const frames = [...encodeDifference(base && outlineOf(base), items, hash)];
  return frames.map((frame) => fromBinary(FrameSchema, toBinary(FrameSchema, frame)));
}

function receive(held: HeldDocument<unknown> | undefined, frames: readonly Frame[]): HeldDocument<unknown> {
  const reader = new DocumentReader(held, options);
  const documents = frames.map((frame) => reader.take(frame));
  const last = documents.pop();
  assert.ok(last);
  assert.deepEqual(
    documents.filter((each) => each !== undefined),
    [],
  );
  return last;
}

function contentOf(document: HeldDocument<unknown>): unknown {
  return [...document]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([section, items]) => [section, [...items].map(([key, { value }]) => [key, value])]);
}

const someItems = fc
  .uniqueArray(
    fc.record({
      section: fc.constantFrom("maps", "hooks"),
      key: fc.constantFrom("a", "b", "c", "d", "e", "f", "g"),
      value: fc.constantFrom(1, 2n, "three", Uint8Array.of(4)),
    }),
    { selector: ({ section, key }) => `${section}/${key}` },
  )
  .map((list) => list.map(({ section, key, value }) => item(section, key, value)));

test("encodeDifference and DocumentReader bring any document to any other, order and all", () => {
  fc.assert(
    fc.property(fc.array(someItems, { minLength: 1, maxLength: 6 }), (versions) => {
      let sent: readonly OutgoingItem[] | undefined;
      let held: HeldDocument<unknown> | undefined;
      for (const items of versions) {
        held = receive(held, send(sent, items));
        sent = items;
        const whole = receive(undefined, send(undefined, items));
        assert.deepEqual(contentOf(held), contentOf(whole));
      }
    }),
    { numRuns: 500 },
  );
});

test("encodeDifference sends neither what is the same nor what only moved along", () => {
  const large = item("maps", "m", { bytes: new Uint8Array(1 << 20) });
  const before = [item("hooks", "c", 1), large];
  const frames = send(before, [item("hooks", "a", 2), item("hooks", "c", 1), large]);
  assert.equal(frames.length, 1);
  assert.equal(frames[0]?.steps.length, 1);
  assert.ok(toBinary(FrameSchema, frames[0]).length < 500);
});

test("encodeDifference cuts what is large into small frames", () => {
  const keys = new Uint8Array(1_600_000).map((_, at) => at % 251);
  const items = [item("maps", "m", { keys, values: keys.subarray(1) }), item("maps", "n", 1)];
  const frames = send(undefined, items);
  assert.ok(Math.max(...frames.map((frame) => toBinary(FrameSchema, frame).length)) < 300_000);
  assert.deepEqual(contentOf(receive(undefined, frames)), [
    [
      "maps",
      [
        ["m", { keys, values: keys.slice(1) }],
        ["n", 1],
      ],
    ],
  ]);
});

test("DocumentReader refuses a difference to another document, and keeps nothing of what is broken", () => {
  const items = [item("maps", "a", 1), item("maps", "b", 2)];
  const held = receive(undefined, send(undefined, items));
  const next = [item("maps", "a", 3)];
  const [difference] = send(items, next);
  assert.ok(difference);
  assert.throws(() => new DocumentReader(undefined, options).take(difference), OtherBase);
  const spoilt = { ...difference, result: "00" };
  assert.throws(() => new DocumentReader(held, options).take(spoilt), MalformedDocument);
  const [whole] = send(undefined, [item("maps", "a", "long enough to be cut")]);
  const put = whole?.steps[0]?.step;
  assert.ok(whole && put?.case === "put");
  put.value.body = put.value.body.subarray(1);
  assert.throws(() => new DocumentReader(held, options).take(whole), /cut short/);
  assert.throws(() => new DocumentReader(undefined, { ...options, largestBytes: 4 }).take(whole), /larger than 4/);
  assert.deepEqual([...outlineOfHeld(held).get("maps")!.keys()], ["a", "b"]);
});

test("decodeValue gives back bytes, 64-bit numbers and fields that nobody knows", () => {
  const value = {
    big: 2n ** 64n - 1n,
    bytes: [Uint8Array.of(0, 1, 2), Buffer.from("text"), new Uint8Array()],
    nested: { unknown: [null, true, "\0 is a character", -1.5] },
  };
  assert.deepEqual(decodeValue(encodeValue(value)), {
    ...value,
    bytes: [Uint8Array.of(0, 1, 2), new Uint8Array(Buffer.from("text")), new Uint8Array()],
  });
  const anything = fc.anything({ withBigInt: false, withTypedArray: false }).filter((each) => encodes(each));
  fc.assert(
    fc.property(anything, (each) => assert.deepEqual(encodeValue(decodeValue(encodeValue(each))), encodeValue(each))),
  );
});

test("decodeValue throws MalformedDocument for anything else, and nothing worse", () => {
  const whole = encodeValue({ a: Uint8Array.of(1, 2, 3), b: 1n });
  assert.throws(() => decodeValue(whole.subarray(0, whole.length - 1)), MalformedDocument);
  assert.throws(() => decodeValue(Uint8Array.of(...whole, 1)), MalformedDocument);
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      try {
        decodeValue(bytes);
      } catch (error) {
        assert.ok(error instanceof MalformedDocument);
      }
    }),
  );
});

function encodes(value: unknown): boolean {
  try {
    return encodeValue(value).length > 0;
  } catch {
    return false;
  }
}
