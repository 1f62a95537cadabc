import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CommandBench } from "../testing/run-command.ts";

const filter =
  "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFProgram\nmetadata: {name: edge}\nspec: {type: xdp, interface: eth0}\n";

async function complete(bench: CommandBench, ...words: readonly string[]): Promise<readonly string[]> {
  const run = await bench.run(["__complete", ...words]);
  assert.equal(run.exitCode, 0, run.err);
  return run.out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t")[0] ?? "");
}

test("__complete knows commands, flags, kinds, names and values", async () => {
  using bench = new CommandBench();
  await bench.run(["apply", "-f", "-"], filter);
  assert.deepEqual(await complete(bench, "ap"), ["apply", "api-resources"]);
  assert.deepEqual(await complete(bench, "get", "ebpfp"), ["ebpfprograms", "ebpfprogramconfigs"]);
  assert.deepEqual(await complete(bench, "get", "ebpf", ""), ["edge"]);
  assert.deepEqual(await complete(bench, "get", "ebpf/e"), ["ebpf/edge"]);
  assert.deepEqual(await complete(bench, "get", "-n", "other", "ebpf", ""), []);
  assert.deepEqual(await complete(bench, "get", "ebpf", "--all"), ["--all-namespaces"]);
  assert.deepEqual(await complete(bench, "get", "ebpf", "-o", "j"), ["json"]);
  assert.deepEqual(await complete(bench, "get", "ebpf", "-n", ""), ["default"]);
  assert.deepEqual(await complete(bench, "completion", "f"), ["fish"]);
  assert.ok((await complete(bench, "--st")).includes("--store"));
});

test("completion prints scripts that their shells can read", async (t) => {
  using bench = new CommandBench();
  for (const [shell, check] of [
    ["bash", ["-n"]],
    ["zsh", ["-n"]],
    ["fish", ["--no-execute"]],
  ] as const) {
    const { out, exitCode } = await bench.run(["completion", shell]);
    assert.equal(exitCode, 0);
    if (spawnSync(shell, ["--version"]).error !== undefined)
      t.diagnostic(`${shell} is not installed: its script is not read here`);
    else execFileSync(shell, check, { input: out });
  }
  assert.match(
    (await bench.run(["completion", "tcsh"])).err,
    /unsupported shell type "tcsh"; there is bash, zsh, fish/,
  );
});

test("completion completes a command line in bash, through a link to bin/ebpfctl", async () => {
  using bench = new CommandBench();
  await bench.run(["apply", "-f", "-"], filter);
  const bin = join(bench.directory, "bin");
  mkdirSync(bin);
  symlinkSync(join(import.meta.dirname, "../../../../bin/ebpfctl"), join(bin, "ebpfctl"));
  const script = `source <(ebpfctl completion bash); COMP_WORDS=(ebpfctl get ebpf ed); COMP_CWORD=3; _ebpfctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const answer = execFileSync("bash", ["-c", script], {
    env: { ...process.env, ...bench.env, PATH: `${bin}:${process.env["PATH"]}` },
    encoding: "utf8",
  });
  assert.equal(answer, "edge\n");
});
