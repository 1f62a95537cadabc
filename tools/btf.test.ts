import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseObject } from "./btf.ts";

const object = readFileSync(join(import.meta.dirname, "../build/bpf/filter.bpf.o"));

test("parseObject reads the entries and their sections", () => {
  assert.deepEqual(Object.fromEntries(parseObject(object).programs), {
    filter_cg_in: "cgroup_skb/ingress",
    filter_cg_out: "cgroup_skb/egress",
    filter_egress: "tc",
    filter_ingress: "tc",
    filter_track: "tc",
    filter_xdp: "xdp",
  });
});

test("parseObject reads the fields of a struct with their places", () => {
  const { types } = parseObject(object);
  const counter = types.find(({ kind, name }) => kind === "struct" && name === "counter");
  assert.equal(counter?.size, 16);
  assert.deepEqual(
    counter.members.map(({ name, offset }) => [name, offset]),
    [
      ["packets", 0],
      ["bytes", 64],
    ],
  );
});

test("parseObject refuses what is no object", () => {
  assert.throws(() => parseObject(new Uint8Array(64)), TypeError);
  assert.throws(() => parseObject(readFileSync(process.execPath).subarray(0, 1 << 20)), Error);
});
