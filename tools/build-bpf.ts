/**
 * Compiles packages/features/src/FEATURE/FEATURE.bpf.c to build/bpf/FEATURE.bpf.o, and lists the
 * objects with the SHA-256 of their bytes, and what plans rely on in them, in build/bpf/objects.json. Nothing is compiled while the
 * compiler, its flags and all sources are those of the last build.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseObject } from "./btf.ts";
import { layoutOf } from "./render-codecs.ts";

/** The compiler that the distributions of the oldest supported kernels bring. */
const oldestClang = 14;
const newestClang = 30;

const flags = [
  // BPF's third instruction set: 32-bit arithmetic and jumps, since Linux 5.1.
  ..."-target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Werror".split(" "),
  // The object must not depend on where it was built.
  "-fdebug-compilation-dir=.",
  ..."-I bpf/include -I build/include".split(" "),
];

class BuildError extends Error {}

/** Object name → path of the object, everything up to date. */
export function buildBpf(root: string): ReadonlyMap<string, string> {
  const out = join(root, "build/bpf");
  mkdirSync(out, { recursive: true });
  requireHeaders(root);
  const clang = findClang();
  const allFlags = [...flags, ...architectureFlags()];
  const headers = globSync(["bpf/include/**/*.h", "build/include/{bpf,linux}/*.h"], { cwd: root }).toSorted();
  const common = [clang.version, allFlags.join(" "), ...headers.map((file) => `${file}\n${read(root, file)}`)].join(
    "\n",
  );
  const objects = new Map<string, string>();
  for (const source of globSync("packages/features/src/*/*.bpf.c", { cwd: root }).toSorted()) {
    const name = basename(source, ".bpf.c");
    const object = join(out, `${name}.bpf.o`);
    const stamp = createHash("sha256").update(common).update(source).update(read(root, source)).digest("hex");
    const stampFile = join(out, `${name}.stamp`);
    if (!existsSync(object) || !existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp) {
      compile(root, clang.path, allFlags, source, object);
      writeFileSync(stampFile, stamp);
    }
    objects.set(name, object);
  }
  removeStale(out, objects);
  writeList(join(out, "objects.json"), objects);
  return objects;
}

function read(root: string, file: string): string {
  return readFileSync(join(root, file), "utf8");
}

function requireHeaders(root: string): void {
  if (existsSync(join(root, "build/include/bpf/bpf_helpers.h"))) return;
  throw new BuildError("find libbpf's headers in build/include: not built; run: npm run build:native");
}

/** Debian keeps <asm/types.h> in a folder of the architecture. */
function architectureFlags(): string[] {
  const folder = { x64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" }[process.arch as "x64" | "arm64"];
  return folder !== undefined && existsSync(`/usr/include/${folder}`) ? ["-isystem", `/usr/include/${folder}`] : [];
}

function findClang(): { path: string; version: string } {
  const names = ["clang", ...Array.from({ length: newestClang - oldestClang }, (_, at) => `clang-${newestClang - at}`)];
  const seen: string[] = [];
  for (const path of [...names, `clang-${oldestClang}`]) {
    const run = spawnSync(path, ["--version"], { encoding: "utf8" });
    const version = /clang version (\d+)\S*/.exec(run.stdout ?? "");
    if (!version) continue;
    if (Number(version[1]) >= oldestClang) return { path, version: version[0] };
    seen.push(`${path} is ${version[1]}`);
  }
  throw new BuildError(
    `find clang ${oldestClang} or newer: ${seen.join(", ") || "none on PATH"}; on Debian: apt-get install clang`,
  );
}

function compile(root: string, clang: string, allFlags: readonly string[], source: string, object: string): void {
  const half = `${object}.${process.pid}`;
  const run = spawnSync(clang, [...allFlags, "-c", source, "-o", half], { cwd: root, encoding: "utf8" });
  if (run.status === 0) {
    renameSync(half, object);
    return;
  }
  rmSync(half, { force: true });
  throw new BuildError(`compile ${source}: ${clang} ended with ${run.status ?? run.signal}\n${run.stderr}`);
}

function removeStale(out: string, objects: ReadonlyMap<string, string>): void {
  for (const file of globSync("*.{bpf.o,stamp}", { cwd: out })) {
    if (!objects.has(file.replace(/\.(bpf\.o|stamp)$/, ""))) rmSync(join(out, file));
  }
}

function writeList(path: string, objects: ReadonlyMap<string, string>): void {
  const entries = [...objects].map(([name, object]) => {
    const bytes = readFileSync(object);
    const digest = createHash("sha256").update(bytes).digest("hex");
    return [name, { digest, layout: layoutOf(name, parseObject(bytes)) }];
  });
  const text = `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
  if (existsSync(path) && readFileSync(path, "utf8") === text) return;
  writeFileSync(`${path}.${process.pid}`, text);
  renameSync(`${path}.${process.pid}`, path);
}

if (import.meta.main) {
  try {
    buildBpf(join(import.meta.dirname, ".."));
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
