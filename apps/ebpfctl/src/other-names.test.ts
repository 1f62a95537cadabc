import assert from "node:assert/strict";
import { test } from "node:test";
import { wordsFor } from "./other-names.ts";

test("wordsFor gives the words of the documents' commands", () => {
  assert.deepEqual(wordsFor("bpftool", ["prog", "list"]), ["prog", "list"]);
  assert.deepEqual(wordsFor("bpftool", ["map", "show"]), ["map", "list"]);
  assert.deepEqual(wordsFor("bpftool", ["prog"]), ["prog", "list"]);
  assert.deepEqual(wordsFor("bpftool", ["version"]), ["version"]);
  assert.deepEqual(wordsFor("calico-node", ["-bpf-maps"]), ["map", "list"]);
  assert.deepEqual(wordsFor("calico-node", ["-bpf-conntrack"]), ["conntrack", "dump"]);
  assert.deepEqual(wordsFor("ls", ["/sys/fs/bpf/"]), ["ls", "/sys/fs/bpf/"]);
  assert.deepEqual(wordsFor("wget", ["-O", "-", "localhost:9091/metrics"]), [
    "wget",
    "-O",
    "-",
    "localhost:9091/metrics",
  ]);
});

test("wordsFor leaves the words of ebpfctl as they are", () => {
  for (const name of ["ebpfctl", "main.ts", ""])
    assert.deepEqual(wordsFor(name, ["prog", "list", "-o", "json"]), ["prog", "list", "-o", "json"]);
});
