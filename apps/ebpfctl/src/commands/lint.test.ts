import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CommandBench } from "../testing/run-command.ts";

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\n";
const policy = (app: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {matchLabels: {app: ${app}}}, ingress: [{from: [{podSelector: {}}]}]}\n`;

test("lint tells what is wrong, what is likely not meant, and by its exit code which of them there is", async () => {
  using bench = new CommandBench();
  const write = (text: string): void => writeFileSync(join(bench.directory, "o.yaml"), text);
  write(`${pod}---\n${policy("web")}`);
  const fine = await bench.run(["lint", "-f", "o.yaml"]);
  assert.deepEqual([fine.exitCode, fine.out, fine.err], [0, "", ""]);
  write(`${pod}---\n${policy("none")}`);
  const warned = await bench.run(["lint", "-f", "o.yaml"]);
  assert.equal(
    warned.out,
    "o.yaml:8:8: warning: NetworkPolicy default/p: spec.podSelector: selects no pod that is there now\n",
  );
  assert.equal(warned.exitCode, 3);
  write(policy("[]"));
  const wrong = await bench.run(["lint", "-f", "o.yaml"]);
  assert.match(wrong.out, /^o\.yaml:4:\d+: error: /);
  assert.equal(wrong.exitCode, 1);
});

test("lint knows the pods that are stored, and takes nothing into the store", async () => {
  using bench = new CommandBench();
  const write = (text: string): void => writeFileSync(join(bench.directory, "o.yaml"), text);
  write(pod);
  assert.equal((await bench.run(["apply", "-f", "o.yaml"])).exitCode, 0);
  write(policy("none"));
  assert.equal((await bench.run(["lint", "-f", "o.yaml"])).exitCode, 3);
  write(policy("web"));
  assert.equal((await bench.run(["lint", "-f", "o.yaml"])).exitCode, 0);
  assert.match((await bench.run(["get", "netpol"])).err, /No resources found/);
});
