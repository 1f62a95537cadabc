/**
 * Holds the layers of tools/layers/layers.json: `node tools/check-layers.ts`. Prints each offending edge
 * as file:line; also file names that say nothing, clocks and chance in pure packages, and C without a licence.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkFile, checkName } from "./layers/check-file.ts";
import type { Layers, PackageJson } from "./layers/check-file.ts";

const root = join(import.meta.dirname, "..");
const readJson = (path: string): unknown => JSON.parse(readFileSync(join(root, path), "utf8"));

const layers = readJson("tools/layers/layers.json") as Layers;
const packages = new Map(
  Object.entries(layers).map(([name, { folder }]) => [name, readJson(`${folder}/package.json`) as PackageJson]),
);
const files = globSync("{packages,apps,tools,test,bench,demo,bpf}/**/*.{ts,c,h,rs,sh}", {
  cwd: root,
  exclude: (path) => /(^|\/)(node_modules|target)$/.test(path),
}).toSorted();

const problems: string[] = [];
for (const folder of globSync("{packages,apps}/*", { cwd: root })) {
  // A program in Rust imports nothing of ours, and nothing imports it.
  if (!existsSync(join(root, folder, "package.json")) && existsSync(join(root, folder, "Cargo.toml"))) continue;
  if (!Object.values(layers).some((layer) => layer.folder === folder)) problems.push(`${folder}: not in layers.json`);
}
for (const [name, { dependencies = {} }] of packages) {
  const layer = layers[name];
  const allowed = [...(layer?.imports ?? []), ...(layer?.importsTypes ?? []), ...Object.keys(layer?.importsFrom ?? {})];
  for (const dependency of Object.keys(dependencies)) {
    const target = /^@bpfleet\/(.+)$/.exec(dependency)?.[1];
    if (target !== undefined && !allowed.includes(target))
      problems.push(`${layer?.folder}/package.json: ${name} → ${target} is no edge of layers.json`);
  }
}
for (const path of files) {
  const text = readFileSync(join(root, path), "utf8");
  problems.push(...checkName(path));
  if (/\.[ch]$/.test(path) && !text.startsWith("// SPDX-License") && !text.startsWith("/* SPDX-License")) {
    problems.push(`${path}:1: the first line must be the SPDX line of docs/adr/0006-licences.md`);
  }
  if (path.endsWith(".ts")) problems.push(...checkFile({ path, text }, layers, packages));
}
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
