import assert from "node:assert/strict";
import { test } from "node:test";
import type { Action, MapSpec, ObservedHook, ProgramSpec } from "@bpfleet/kernel";
import { renderChanges } from "./render-changes.ts";
import { summarizeActions } from "./summarize-actions.ts";

const identity = (key: string, generation = "1") => ({ key, generation });
const map: MapSpec = {
  key: "f/list",
  name: "list",
  definition: { type: "hash", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 },
  contents: { kind: "live" },
};
const program: ProgramSpec = {
  key: "f/program",
  name: "p",
  type: "xdp",
  object: { name: "filter", digest: "d" },
  entry: "filter",
  globals: {},
  maps: {},
};
const member = {
  spec: program,
  identity: identity("f/program"),
  maps: new Map(),
  mode: "inline",
  proceedOn: [],
} as const;
const hook = { key: "xdp/eth0", point: { hook: "xdp", interface: "eth0" }, members: [] } as const;
const some = { count: 2, keys: new Uint8Array(8), values: new Uint8Array(8) };
const noNeeds = { id: "", needs: [] } as const;

test("summarizeActions tells a map that comes and goes as replaced, and hooks first", () => {
  const actions: readonly Action[] = [
    { ...noNeeds, do: "create-map", spec: map, identity: identity("f/list", "2") },
    {
      ...noNeeds,
      do: "load-program",
      spec: program,
      identity: identity("f/program", "2"),
      maps: new Map(),
      replaces: false,
    },
    { ...noNeeds, do: "set-hook", spec: hook, generation: "2", members: [member], why: "changed" },
    { ...noNeeds, do: "inline-hook", spec: hook, generation: "3", members: [member] },
    { ...noNeeds, do: "remove-program", identity: identity("f/program") },
    { ...noNeeds, do: "remove-map", identity: identity("f/list") },
    { ...noNeeds, do: "clear-hook", key: "tc-egress/eth0", observed: {} as ObservedHook },
    { ...noNeeds, do: "create-map", spec: { ...map, key: "f/new" }, identity: identity("f/new") },
    {
      ...noNeeds,
      do: "pin-map",
      spec: { ...map, key: "f/new" },
      identity: identity("f/new"),
      pinPath: "/sys/fs/bpf/new",
    },
    {
      ...noNeeds,
      do: "write-map",
      spec: { ...map, key: "f/kept" },
      identity: identity("f/kept"),
      puts: some,
      deletes: { ...some, count: 1 },
    },
  ];
  assert.equal(
    renderChanges(summarizeActions(actions)),
    `- hook tc-egress/eth0
~ hook xdp/eth0: f/program
~ program f/program
~ map f/kept: put 2, delete 1 entries
~ map f/list
+ map f/new: pinned at /sys/fs/bpf/new
`,
  );
});

test("summarizeActions of nothing is nothing", () => {
  assert.equal(renderChanges(summarizeActions([])), "");
});

test("summarizeActions says what is put into maps that refer to maps", () => {
  const outer: MapSpec = { ...map, key: "f/table" };
  const put = { ...noNeeds, do: "put-reference", spec: outer, identity: identity("f/table"), slot: 0 } as const;
  const actions: readonly Action[] = [
    { ...noNeeds, do: "create-map", spec: map, identity: identity("f/list", "2") },
    { ...put, map: identity("f/list", "2") },
    { ...noNeeds, do: "drop-reference", spec: outer, identity: identity("f/table"), slot: 3 },
    { ...noNeeds, do: "remove-map", identity: identity("f/list") },
  ];
  assert.deepEqual(
    summarizeActions(actions).map(({ change, key, detail }) => [change, key, detail]),
    [
      ["replace", "f/list", undefined],
      ["replace", "f/table", "f/list put into [0]; [3] emptied"],
    ],
  );
});
