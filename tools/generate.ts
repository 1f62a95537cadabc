/**
 * Runs every generator: `node tools/generate.ts [--check]`.
 *
 * A generator is a file tools/generate-NAME.ts that exports `generateNAME(root)`, which writes nothing
 * and returns its files: path from the root of the repository → text. A file in a `generated/` folder
 * that no generator returns is stale: it is removed. `--check` changes nothing and fails on a difference.
 */
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

export type GeneratedFiles = ReadonlyMap<string, string>;
type Generator = (root: string) => GeneratedFiles | Promise<GeneratedFiles>;

interface Difference {
  readonly path: string;
  readonly what: "missing" | "differs" | "stale";
  /** First line that differs, 1-based, for `differs`. */
  readonly line?: number;
}

const root = join(import.meta.dirname, "..");

async function loadGenerators(): Promise<Map<string, Generator>> {
  const generators = new Map<string, Generator>();
  for (const file of globSync("tools/generate-*.ts", { cwd: root }).toSorted()) {
    const module = (await import(pathToFileURL(join(root, file)).href)) as Record<string, unknown>;
    const found = Object.entries(module).filter(
      ([name, value]) => /^generate[A-Z]/.test(name) && typeof value === "function",
    );
    if (found.length === 0) throw new TypeError(`load ${file}: it exports no function named generate…`);
    for (const [name, value] of found) generators.set(name, value as Generator);
  }
  return generators;
}

async function generateAll(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const [name, generate] of await loadGenerators()) {
    for (const [path, text] of await generate(root)) {
      if (files.has(path)) throw new TypeError(`generate ${path}: ${name} is the second generator that returns it`);
      files.set(path, text);
    }
  }
  return files;
}

function compare(files: ReadonlyMap<string, string>): Difference[] {
  const differences: Difference[] = [];
  for (const [path, text] of files) {
    const current = read(path);
    if (current === undefined) differences.push({ path, what: "missing" });
    else if (current !== text) differences.push({ path, what: "differs", line: firstDifference(current, text) });
  }
  const present = globSync("{packages,apps,manifests,docs}/**/generated/**/*.*", {
    cwd: root,
    exclude: (path) => basename(path) === "node_modules",
  });
  for (const path of present) if (!files.has(path)) differences.push({ path, what: "stale" });
  return differences.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function read(path: string): string | undefined {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return undefined;
  }
}

function firstDifference(a: string, b: string): number {
  const [left, right] = [a.split("\n"), b.split("\n")];
  return 1 + left.findIndex((line, at) => line !== right[at]);
}

function apply(differences: readonly Difference[], files: ReadonlyMap<string, string>): void {
  for (const { path } of differences) {
    const text = files.get(path);
    if (text === undefined) {
      rmSync(join(root, path));
      continue;
    }
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

const isCheck = process.argv.includes("--check");
const files = await generateAll();
const differences = compare(files);
for (const { path, what, line } of differences) console.log(`${what.padEnd(8)} ${path}${line ? `:${line}` : ""}`);
if (!isCheck) {
  apply(differences, files);
  console.log(`${files.size} generated files, ${differences.length} changed`);
} else if (differences.length > 0) {
  console.error(`check generated files: ${differences.length} of ${files.size} are not up to date; run: make generate`);
  process.exitCode = 1;
}
