import assert from "node:assert/strict";
import { test } from "node:test";
import { readOptions, renderOptions } from "./option-table.ts";

const table = [
  { flag: "node-name", env: ["NODE_NAME", "NODENAME"], value: "name", help: "name of the node" },
  { flag: "log-level", env: ["LOG_LEVEL"], value: "level", usual: "info", help: "what is told" },
  { flag: "once", env: [], help: "end at once" },
] as const;

test("readOptions takes flags before the environment before what is usual", () => {
  const env = { NODE_NAME: "", NODENAME: "n1", LOG_LEVEL: "warn" };
  assert.deepEqual(readOptions(table, [], {}).values, { "log-level": "info" });
  assert.deepEqual(readOptions(table, [], env).values, { "node-name": "n1", "log-level": "warn" });
  const { values, mistakes } = readOptions(table, ["--node-name", "n2", "--log-level=a=b", "--once"], env);
  assert.deepEqual(values, { "node-name": "n2", "log-level": "a=b", once: "true" });
  assert.deepEqual(mistakes, []);
});

test("readOptions names all mistakes at once", () => {
  const { mistakes, asksHelp } = readOptions(table, ["-x", "word", "--nothing=1", "-h", "--node-name"], {});
  assert.deepEqual(mistakes, [
    'read "-x": there is no such flag; --help lists what there is',
    'read "word": there is no such flag; --help lists what there is',
    'read "--nothing=1": there is no such flag; --help lists what there is',
    "read --node-name: it needs a value; give --node-name <name>",
  ]);
  assert.equal(asksHelp, true);
});

test("renderOptions tells variables and usual values", () => {
  assert.equal(
    renderOptions(table),
    [
      "  --node-name <name>   name of the node (env: NODE_NAME, NODENAME)",
      "  --log-level <level>  what is told (env: LOG_LEVEL; usually info)",
      "  --once               end at once",
    ].join("\n"),
  );
});
