import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { commands } from "./commands/mod.ts";
import { documentCommands } from "./document-commands.ts";
import { renderReference } from "./reference.ts";
import { CommandBench } from "./testing/run-command.ts";

const root = join(import.meta.dirname, "../../..");
const samples = join(root, "packages/kinds/src/networking.fos1.io");

test("renderReference has every command and every flag that --help has", async () => {
  using bench = new CommandBench();
  const page = await renderReference();
  for (const { name, isHidden } of commands) {
    if (isHidden === true) continue;
    assert.match(page, new RegExp(`^## ebpfctl ${name}( [a-z-]+)?$`, "m"));
    const { out, exitCode } = await bench.run(["help", name]);
    assert.equal(exitCode, 0);
    for (const [flag] of out.matchAll(/--[a-z][a-z-]+/g))
      assert.ok(flag === "--help" || page.includes(flag), `${name} ${flag}`);
  }
});

test("docs/reference/commands.md is what renderReference says", async () => {
  const page = readFileSync(join(import.meta.dirname, "../../../docs/reference/commands.md"), "utf8");
  assert.ok(page.endsWith(await renderReference()), "renew it with: make generate");
});

test("documentCommands work as they are written", async () => {
  using bench = new CommandBench();
  await bench.run(["apply", "-f", join(samples, "ebpfprogram/samples/xdp-packet-filter.yaml")]);
  for (const { here, document } of documentCommands) {
    if (here === undefined) continue;
    const words = here.map((word) => (word.startsWith("config/") ? join(root, word) : word));
    const { exitCode, out, err } = await bench.run(words);
    assert.equal(exitCode, 0, `${document}: ${err}`);
    // Nothing makes a BpfProgram while no agent runs.
    if (document === "kubectl bpfprograms") assert.match(err, /No resources found/);
    else assert.match(out, /xdp-packet-filter|xdp-pass-all-nodes|api-server-protection/);
  }
});

test("documentCommands that are not served yet say so, and what helps, where documents exec them", async () => {
  using bench = new CommandBench();
  const later = documentCommands.filter(({ note }) => note?.startsWith("not served yet") === true);
  assert.ok(later.length > 0);
  for (const { document, note = "" } of later) {
    const [, words = ""] = document.split("-- ebpfctl ");
    const { exitCode, out, err } = await bench.run(words.split(" "));
    assert.deepEqual([exitCode, out, err], [1, "", `error: ${words}: ${note.replaceAll("`", "")}\n`]);
  }
});

test("help lists every command with one line, and a word that is none is answered with the nearest", async () => {
  using bench = new CommandBench();
  const { out, exitCode } = await bench.run([]);
  assert.equal(exitCode, 0);
  for (const { name, summary, isHidden } of commands)
    if (isHidden !== true) assert.match(out.replaceAll(/\s+/g, " "), new RegExp(` ${name} ${summary.split(",")[0]}`));
  assert.doesNotMatch(out, /__complete/);
  const wrong = await bench.run(["aply"]);
  assert.equal(wrong.exitCode, 1);
  assert.match(wrong.err, /unknown command 'aply'\n\(Did you mean apply\?\)/);
  assert.equal((await bench.run(["get", "--nonsense"])).exitCode, 1);
  assert.deepEqual(await bench.run(["--version"]), { exitCode: 0, out: "0.1.0\n", err: "" });
});
