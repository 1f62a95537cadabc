import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { renderHex } from "@bpfleet/base";
import type { MapIntent } from "@bpfleet/features";
import { issueLines, readAll } from "../../testing/read-all.ts";

function map(spec: string): string {
  return `apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFMap\nmetadata: {name: m}\nspec:\n${spec.replaceAll(/^/gm, "  ")}\n`;
}

function lower(spec: string): MapIntent {
  const { lower: run, issues } = readAll(map(spec));
  assert.deepEqual(
    issues.filter((issue) => issue.severity === "error"),
    [],
  );
  return run().intents[0] as MapIntent;
}

/** Key and value as hexadecimal digits, or the messages of the errors. */
function entry(spec: string, key: string, value = "1"): string {
  const text = map(`${spec}\ninitData: [{key: ${key}, value: ${value}}]`);
  const { issues, lower: run } = readAll(text);
  const errors = issues.filter((issue) => issue.severity === "error");
  if (errors.length > 0) return errors.map((issue) => issue.message.replace("spec.initData[0].", "")).join("; ");
  const { entries } = run().intents[0] as MapIntent;
  return `${renderHex(entries.keys)}=${renderHex(entries.values)}`;
}

const hash = (key: number, value: number): string => `type: hash\nmaxEntries: 4\nkeySize: ${key}\nvalueSize: ${value}`;
const lpm4 = "type: lpm_trie\nmaxEntries: 4\nkeySize: 8\nvalueSize: 4";
const lpm6 = "type: lpm_trie\nmaxEntries: 4\nkeySize: 20\nvalueSize: 4";

test("EBPFMap lowers the document's blacklist-map", () => {
  const {
    lower: run,
    issues,
    parsed,
  } = readAll(readFileSync(new URL("samples/blacklist-map.yaml", import.meta.url), "utf8"));
  assert.deepEqual(issues, []);
  const { intents, problems } = run();
  const [intent] = intents as MapIntent[];
  assert.deepEqual(intent?.definition, { type: "lpm_trie", keySize: 8, valueSize: 4, maxEntries: 1024, flags: 1 });
  assert.deepEqual(
    [intent?.pinPath, intent?.prune, intent?.entryPaths],
    ["/sys/fs/bpf/blacklist", false, ["/spec/initData/0"]],
  );
  assert.equal(renderHex(intent?.entries.keys ?? new Uint8Array()), "18000000" + "0a0a0a00");
  assert.equal(renderHex(intent?.entries.values ?? new Uint8Array()), "01000000");
  assert.deepEqual(
    problems.map(({ severity, reason, message }) => [severity, reason, message]),
    [
      [
        "note",
        "ProgramNotFound",
        "EBPFProgram default/xdp-packet-filter does not exist; it uses the map as soon as it does",
      ],
    ],
  );
  assert.equal(parsed[0]?.ref.name, "blacklist-map");
});

test("EBPFMap gives every type the sizes and flags that the kernel wants", () => {
  const definition = (spec: string): unknown => Object.values(lower(spec).definition);
  assert.deepEqual(definition(hash(4, 8)), ["hash", 4, 8, 4, 0]);
  assert.deepEqual(definition("type: lru_hash\nmaxEntries: 2\nkeySize: 1\nvalueSize: 1\nflags: 2"), [
    "lru_hash",
    1,
    1,
    2,
    2,
  ]);
  assert.deepEqual(definition("type: percpu_hash\nmaxEntries: 2\nkeySize: 1\nvalueSize: 1"), [
    "percpu_hash",
    1,
    1,
    2,
    0,
  ]);
  assert.deepEqual(definition("type: array\nmaxEntries: 2\nvalueSize: 16"), ["array", 4, 16, 2, 0]);
  assert.deepEqual(definition("type: percpu_array\nmaxEntries: 2\nkeySize: 4\nvalueSize: 16"), [
    "percpu_array",
    4,
    16,
    2,
    0,
  ]);
  assert.deepEqual(definition(lpm6), ["lpm_trie", 20, 4, 4, 1]);
  assert.deepEqual(definition(`${lpm4}\nflags: 9`), ["lpm_trie", 8, 4, 4, 9]);
  assert.deepEqual(definition("type: stack\nmaxEntries: 2\nvalueSize: 16"), ["stack", 0, 16, 2, 0]);
  assert.deepEqual(definition("type: queue\nmaxEntries: 2\nkeySize: 0\nvalueSize: 16"), ["queue", 0, 16, 2, 0]);
  assert.deepEqual(definition("type: ringbuf\nmaxEntries: 4096"), ["ringbuf", 0, 0, 4096, 0]);
  assert.deepEqual(definition("type: perf_event_array\nmaxEntries: 2"), ["perf_event_array", 4, 4, 2, 0]);
});

test("EBPFMap rounds ring buffers up and says so", () => {
  assert.equal(lower("type: ringbuf\nmaxEntries: 1024").definition.maxEntries, 4096);
  assert.equal(lower("type: ringbuf\nmaxEntries: 262145").definition.maxEntries, 524288);
  assert.deepEqual(issueLines(map("type: ringbuf\nmaxEntries: 5000")), [
    "6: warning spec.maxEntries: the kernel takes ring buffers of a power of two of at least 4096 bytes only; 5000 becomes 8192",
  ]);
  assert.deepEqual(issueLines(map("type: ringbuf\nmaxEntries: 8192")), []);
});

test("EBPFMap refuses sizes that do not fit its type", () => {
  const messages = (spec: string): string[] =>
    issueLines(map(spec)).map((line) => line.replace(/^\d+: error spec\./, ""));
  assert.deepEqual(messages("type: hash\nmaxEntries: 1"), [
    "keySize: is required for type hash, lru_hash, percpu_hash, lpm_trie",
    "valueSize: is required for type hash, lru_hash, percpu_hash, array, percpu_array, lpm_trie, stack, queue",
  ]);
  assert.deepEqual(messages("type: array\nmaxEntries: 1\nkeySize: 8\nvalueSize: 4"), [
    "keySize: must be 4 for arrays: the key is the index",
  ]);
  assert.deepEqual(messages("type: queue\nmaxEntries: 1\nkeySize: 8\nvalueSize: 4"), [
    "keySize: must be left out for type stack and queue: they have no keys",
  ]);
  assert.deepEqual(messages("type: ringbuf\nmaxEntries: 4096\nkeySize: 8\nvalueSize: 4"), [
    "keySize: must be left out for type ringbuf",
    "valueSize: must be left out for type ringbuf",
  ]);
  assert.deepEqual(messages("type: perf_event_array\nmaxEntries: 1\nkeySize: 8\nvalueSize: 8").length, 2);
  assert.match(
    messages("type: lpm_trie\nmaxEntries: 1\nkeySize: 4\nvalueSize: 4")[0] ?? "",
    /^keySize: must be 5 to 260 for type lpm_trie/,
  );
  assert.match(
    messages("type: lpm_tree\nmaxEntries: 0\nkeySize: 4\nvalueSize: 4").join("|"),
    /did you mean lpm_trie\?\|maxEntries: must be at least 1, is 0/,
  );
  assert.deepEqual(messages("type: queue\nmaxEntries: 1\nvalueSize: 4\ninitData: [{key: 1, value: 1}]"), [
    "initData: must be left out for this type: it has no entries to fill",
  ]);
});

test("EBPFMap reads 0x of a number's size in host order and of other sizes byte by byte", () => {
  assert.equal(entry(hash(1, 2), '"0x01"', '"0x0102"'), "01=0201");
  assert.equal(entry(hash(4, 8), '"0x01020304"', '"0x0102030405060708"'), "04030201=0807060504030201");
  assert.equal(entry(hash(3, 6), '"0x010203"', '"0x0102030405FF"'), "010203=0102030405ff");
  assert.equal(
    entry(hash(16, 1), '"0x20010db8000000000000000000000001"', '"0xff"'),
    "20010db8000000000000000000000001=ff",
  );
});

test("EBPFMap reads decimal numbers, quoted or not, and numbers as YAML writes them", () => {
  assert.equal(entry(hash(4, 2), "258", '"258"'), "02010000=0201");
  assert.equal(entry(hash(4, 1), "0x01020304", "-1"), "04030201=ff");
  assert.equal(entry(hash(8, 4), '"18446744073709551615"', "4294967295"), "ffffffffffffffff=ffffffff");
});

test("EBPFMap says what it got and what it wants when a size is wrong", () => {
  assert.equal(entry(hash(4, 4), '"0x010203"'), 'key: must be 4 bytes, 0x and 8 digits; "0x010203" is 3 bytes');
  assert.equal(entry(hash(4, 4), '"0x1"'), 'key: must be 4 bytes, 0x and 8 digits; "0x1" is 1 digit');
  assert.equal(entry(hash(4, 1), "1", "256"), "value: must fit in 1 byte, is 256");
  assert.equal(entry(hash(4, 1), "1", "-129"), "value: must fit in 1 byte, is -129");
  assert.equal(entry(hash(3, 1), "7"), "key: must be 0x and 6 hexadecimal digits: 3 bytes are no number, is 7");
  assert.equal(entry(hash(4, 4), "eth0"), 'key: must be 0x and 8 hexadecimal digits, or a decimal number, is "eth0"');
  assert.equal(entry(hash(4, 4), "1.5"), "key: must be a whole number or text, is 1.5");
  assert.equal(entry(hash(4, 4), "[1]"), "key: must be a whole number or text, is a list");
});

test("EBPFMap reads the keys of an lpm_trie as addresses with a prefix length", () => {
  assert.equal(entry(lpm4, '"0x0a0a0a00/24"', '"0x00000001"'), "180000000a0a0a00=01000000");
  assert.equal(entry(lpm4, "10.10.10.0/24"), "180000000a0a0a00=01000000");
  assert.equal(entry(lpm4, "10.10.10.7"), "200000000a0a0a07=01000000");
  assert.equal(entry(lpm4, '"0x0a0a0a07"'), "200000000a0a0a07=01000000");
  assert.equal(entry(lpm4, "0.0.0.0/0", "0"), "0000000000000000=00000000");
  assert.equal(entry(lpm6, '"2001:db8::/32"'), "2000000020010db8000000000000000000000000=01000000");
  assert.equal(
    entry(lpm6, '"0x20010db8000000000000000000000000/32"'),
    "2000000020010db8000000000000000000000000=01000000",
  );
  assert.equal(entry("type: lpm_trie\nmaxEntries: 4\nkeySize: 6\nvalueSize: 4", '"0x8000/1"'), "010000008000=01000000");
});

test("EBPFMap refuses lpm_trie keys that are none, and masks those with bits set past their length", () => {
  assert.equal(
    entry(lpm4, '"0x0a0a0a/24"'),
    'key: must have 4 bytes before the slash, keySize 8 less 4 for the length; "0x0a0a0a/24" has 3 bytes',
  );
  assert.equal(entry(lpm4, '"0x0a0a0a00/33"'), "key: must have a prefix length of at most 32, has 33");
  assert.equal(
    entry(lpm4, '"2001:db8::/32"'),
    "key: is an IPv6 address of 16 bytes, but keySize 8 leaves 4; set keySize to 20",
  );
  assert.equal(
    entry(lpm6, "10.0.0.0/8"),
    "key: is an IPv4 address of 4 bytes, but keySize 20 leaves 16; set keySize to 8",
  );
  assert.equal(entry(lpm4, "0x0a0a0a00"), "key: must be an address with a prefix length, in quotes, is 168430080");
  assert.match(entry(lpm4, "10.10.10.0/x"), /the length after the slash must be 0 to 32/);
  assert.equal(entry(lpm4, "10.10.10.7/24"), "180000000a0a0a00=01000000");
  assert.match(
    issueLines(map(`${lpm4}\ninitData: [{key: 10.10.10.7/24, value: 1}]`))[0] ?? "",
    /warning spec\.initData\[0\]\.key: .*bits set past its length; read as 10\.10\.10\.0\/24/,
  );
});

test("EBPFMap refuses the same key twice, indexes past the end and more entries than fit", () => {
  const three = "initData: [{key: 1, value: 1}, {key: '0x00000001', value: 2}, {key: 5, value: 1}]";
  assert.deepEqual(issueLines(map(`type: array\nmaxEntries: 4\nvalueSize: 4\n${three}`)), [
    "8: error spec.initData[1].key: is the same key as spec.initData[0].key; keep one",
    "8: error spec.initData[2].key: must be below maxEntries, 4, is 5",
  ]);
  assert.match(
    issueLines(map(`type: lru_hash\nmaxEntries: 2\nkeySize: 4\nvalueSize: 4\n${three}`))[0] ?? "",
    /initData: must not have more entries than maxEntries/,
  );
});

test("EBPFMap wants a pin path that is absolute and plain", () => {
  const pin = (path: string): string[] => issueLines(map(`${lpm4}\npinPath: "${path}"`));
  assert.deepEqual(pin("/sys/fs/bpf/x"), []);
  assert.match(pin("blacklist")[0] ?? "", /spec.pinPath: must be an absolute path on a bpffs/);
  assert.match(pin("/sys/fs/bpf/")[0] ?? "", /without a slash at its end/);
  assert.match(pin("/sys/fs/../etc/x")[0] ?? "", /must not contain \. or \.\./);
});

test("EBPFMap keeps what others add, unless it says prune", () => {
  assert.equal(lower(lpm4).prune, false);
  assert.equal(lower(`${lpm4}\nprune: true`).prune, true);
});

test("EBPFMap parses 20,000 entries in seconds of one processor", () => {
  const entries = Array.from({ length: 20_000 }, (_, index) => `  - {key: ${index}, value: 1}`).join("\n");
  const begin = process.cpuUsage();
  const { count } = lower(`type: hash\nmaxEntries: 20000\nkeySize: 4\nvalueSize: 4\ninitData:\n${entries}`).entries;
  assert.equal(count, 20_000);
  const { user } = process.cpuUsage(begin);
  assert.ok(user < 10_000_000, `${user / 1000} ms`);
});
