import assert from "node:assert/strict";
import { test } from "node:test";
import type { MapReading } from "@bpfleet/daemon/client";
import type { MapDefinition } from "@bpfleet/kernel";
import { EntryCodec, sumValues } from "./entry-codec.ts";
import { parseJson, renderJson } from "./json.ts";
import { compareEntries } from "./map-changes.ts";
import { parseMapRef } from "./map-ref.ts";
import { renderEntries } from "./render-entries.ts";

function reading(
  definition: Partial<MapDefinition>,
  keys: readonly number[],
  values: readonly number[],
  cpus = 0,
): MapReading {
  const whole = { type: "hash", keySize: 4, valueSize: 8, maxEntries: 16, flags: 0, ...definition } as const;
  return {
    id: 1,
    name: "m",
    definition: whole,
    isFrozen: false,
    memoryBytes: 0n,
    entries: { count: keys.length / whole.keySize, keys: Uint8Array.from(keys), values: Uint8Array.from(values) },
    cpus,
    isWhole: true,
  };
}

test("EntryCodec shows prefixes of an LPM trie and takes them as keys", () => {
  const codec = new EntryCodec(reading({ type: "lpm_trie", keySize: 8, valueSize: 1 }, [], []));
  const key = codec.encodeKey("10.10.10.7/24");
  assert.deepEqual([...key], [24, 0, 0, 0, 10, 10, 10, 0]);
  const [entry] = codec.entries(reading({ type: "lpm_trie", keySize: 8, valueSize: 1 }, [...key], [1]));
  assert.deepEqual(entry, { key: "10.10.10.0/24", values: [1] });
  assert.deepEqual([...codec.encodeKey("10.0.0.1")], [32, 0, 0, 0, 10, 0, 0, 1]);
  const six = new EntryCodec(reading({ type: "lpm_trie", keySize: 20, valueSize: 1 }, [], []));
  assert.equal(
    six.entries(reading({ type: "lpm_trie", keySize: 20, valueSize: 1 }, [...six.encodeKey("fd00::/8")], [0]))[0]?.key,
    "fd00::/8",
  );
  assert.throws(() => codec.encodeKey("10.0.0.0/33"), /is not 8 bytes as 0x|number/);
});

test("EntryCodec takes numbers in host order and bytes in order where types are not known", () => {
  const codec = new EntryCodec(reading({ keySize: 4, valueSize: 3 }, [], []));
  assert.deepEqual([...codec.encodeKey("0x0a000001")], [1, 0, 0, 10]);
  assert.deepEqual([...codec.encodeKey("258")], [2, 1, 0, 0]);
  assert.deepEqual([...codec.encodeKey("10.0.0.1")], [10, 0, 0, 1]);
  assert.deepEqual([...codec.encodeValue("0x010203")], [1, 2, 3]);
  assert.throws(() => codec.encodeValue("0x01"), { message: 'encode value: "0x01" is not 3 bytes as 0x…' });
  assert.deepEqual(codec.entries(reading({ keySize: 4, valueSize: 3 }, [1, 0, 0, 0], [1, 2, 3])), [
    { key: 1, values: ["0x010203"] },
  ]);
});

test("sumValues adds up the values of CPUs, field by field", () => {
  assert.equal(sumValues([1n, 2n, 3n]), 6n);
  assert.deepEqual(
    sumValues([
      { a: 1n, b: [1, 2], c: "x" },
      { a: 4n, b: [3, 4], c: "x" },
    ]),
    { a: 5n, b: [4, 6], c: "x" },
  );
});

test("renderEntries gives every CPU a line when asked, else their sum", () => {
  const perCpu = reading(
    { type: "percpu_array", maxEntries: 1 },
    [0, 0, 0, 0],
    [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
    2,
  );
  const entries = new EntryCodec(perCpu).entries(perCpu);
  assert.equal(renderEntries(entries, false), "KEY   VALUE\n0     3\n");
  assert.equal(renderEntries(entries, true), "KEY   CPU   VALUE\n0     0     1\n0     1     2\n");
});

test("renderJson and parseJson keep every digit of 64 bits", () => {
  const text = '{"packets":18446744073709551615,"ratio":0.5}';
  assert.deepEqual(parseJson(text), { value: { packets: 18446744073709551615n, ratio: 0.5 } });
  assert.equal(renderJson(parseJson(text)?.value), text);
  assert.equal(parseJson("10.0.0.1"), undefined);
});

test("compareEntries tells what was added, changed and removed", () => {
  const before = [
    { key: 1, values: [1n] },
    { key: 2, values: [1n] },
  ];
  const after = [
    { key: 2, values: [5n] },
    { key: 3, values: [1n] },
  ];
  assert.deepEqual(
    compareEntries(before, after).map(({ change, entry }) => [change, entry.key]),
    [
      ["changed", 2],
      ["added", 3],
      ["removed", 1],
    ],
  );
});

test("parseMapRef knows ids, pins, objects and keys", () => {
  const parse = (text: string, namespace = "default") =>
    parseMapRef(text, namespace, { cwd: "/run/bpfd/fs", exists: (path) => path.startsWith("/run/bpfd/fs/maps/") });
  assert.deepEqual(parse("17"), { by: "id", id: 17 });
  for (const text of ["/run/bpfd/fs/maps/x/y", "maps/x/y", "./maps/x/y", "../fs/maps/x/y"])
    assert.deepEqual(parse(text), { by: "pin-path", path: "/run/bpfd/fs/maps/x/y" });
  assert.deepEqual(parse("./absent/y"), { by: "pin-path", path: "/run/bpfd/fs/absent/y" });
  assert.deepEqual(parse("ebpfmap/blacklist-map", "lab"), { by: "key", key: "maps/lab/blacklist-map" });
  assert.deepEqual(parse("filter/default/x/hits"), { by: "key", key: "filter/default/x/hits" });
  assert.throws(() => parse("nonsense"), /give its id, its pin path, ebpfmap\/NAME/);
});
