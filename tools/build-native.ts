/**
 * Builds the Node addon and exports libbpf's headers:
 *
 *   build/native/bpfleet.node    the addon
 *   build/include/bpf/*.h        what our C programs include
 *   build/include/linux/*.h      the kernel API headers that belong to them
 *
 * Nothing happens while the sources' hash is that of the last build. `--static` links libelf and zlib in, for releases.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
const crate = join(root, "packages/native");
const outputs = {
  addon: join(root, "build/native/bpfleet.node"),
  include: join(root, "build/include"),
};
const stampFile = join(root, "build/native/stamp");
const isStatic = process.argv.includes("--static");

const cacheHome = process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
const cacheDir = join(cacheHome, "bpfleet/native");
const targetDir = process.env["BPFLEET_CARGO_TARGET"] || join(cacheHome, "bpfleet/cargo-target");
const cachedBuilds = 8;
const oldestCargo = [1, 88] as const;
/** The headers of the kernel API that bpf_helpers.h of this libbpf expects; older distributions lack half of bpf.h. */
const uapiHeaders = ["bpf.h", "bpf_common.h", "btf.h"];

class BuildError extends Error {}

function sourceHash(): string {
  const rust = fs.globSync("src/**/*.rs", { cwd: crate }).toSorted();
  const hash = createHash("sha256");
  hash.update(`${process.arch} ${libcVersion()} ${isStatic ? "static" : "shared"} ${uapiHeaders.join()}\n`);
  for (const file of ["Cargo.toml", "Cargo.lock", "build.rs", ...rust]) {
    hash.update(`${file}\n`).update(fs.readFileSync(join(crate, file)));
  }
  return hash.digest("hex").slice(0, 32);
}

/** An addon runs only on the libc it was built for, or a newer one. */
function libcVersion(): string {
  (process.report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime ?? "unknown";
}

function cargoVersion(cargo: string): readonly number[] | undefined {
  const run = spawnSync(cargo, ["--version"], { encoding: "utf8" });
  const match = /^cargo (\d+)\.(\d+)/.exec(run.stdout ?? "");
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}

function findCargo(): string {
  const onPath = (process.env["PATH"] ?? "").split(delimiter).map((dir) => join(dir, "cargo"));
  const seen: string[] = [];
  for (const cargo of new Set([...onPath, join(homedir(), ".cargo/bin/cargo"), "/usr/bin/cargo"])) {
    if (!fs.existsSync(cargo)) continue;
    const [major = 0, minor = 0] = cargoVersion(cargo) ?? [];
    if (major > oldestCargo[0] || (major === oldestCargo[0] && minor >= oldestCargo[1])) return cargo;
    seen.push(`${cargo} is ${major}.${minor}`);
  }
  throw new BuildError(
    `find cargo ${oldestCargo.join(".")} or newer: ${seen.join(", ") || "none on PATH"}; ` +
      `on Debian 12: apt-get install cargo-web rustc-web (they replace cargo and rustc)`,
  );
}

function requireSystem(): void {
  const missing = ["gcc", "make", "pkg-config", "flock"].filter((tool) => spawnSync(tool, ["--version"]).error);
  if (!isStatic && !missing.includes("pkg-config")) {
    if (spawnSync("pkg-config", ["--exists", "libelf"]).status !== 0) missing.push("libelf-dev");
    if (spawnSync("pkg-config", ["--exists", "zlib"]).status !== 0) missing.push("zlib1g-dev");
  }
  if (missing.length > 0) {
    throw new BuildError(`find what the addon is built with: not installed; apt-get install ${missing.join(" ")}`);
  }
}

/** Copies libbpf's headers out of the crate that holds them, which cargo fetches if need be. */
function exportHeaders(cargo: string, into: string): void {
  const args = ["metadata", "--locked", "--format-version", "1", "--manifest-path", join(crate, "Cargo.toml")];
  const text = execFileSync(cargo, args, {
    encoding: "utf8",
    maxBuffer: 64 << 20,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const metadata = JSON.parse(text) as { packages: { name: string; manifest_path: string }[] };
  const sys = metadata.packages.find((each) => each.name === "libbpf-sys");
  if (!sys) throw new BuildError("find libbpf-sys: not in Cargo.lock");
  const libbpf = join(dirname(sys.manifest_path), "libbpf");
  for (const file of fs.globSync("*.h", { cwd: join(libbpf, "src") })) {
    if (/^(bpf|libbpf|btf|usdt)[^/]*\.h$/.test(file) && !/internal/.test(file)) {
      place(join(libbpf, "src", file), join(into, "bpf", file));
    }
  }
  for (const file of uapiHeaders) place(join(libbpf, "include/uapi/linux", file), join(into, "linux", file));
}

/** Builds the addon to a file. Clones share the target directory: nobody may build between our build and our copy. */
function build(cargo: string, to: string): void {
  requireSystem();
  fs.mkdirSync(targetDir, { recursive: true });
  const built = join(targetDir, "release/libbpfleet_native.so");
  const command = [cargo, "build", "--release", "--locked", "--manifest-path", join(crate, "Cargo.toml")];
  if (isStatic) command.push("--features", "static");
  const script = `"$@" && cp "$BUILT" "$TO.half" && mv "$TO.half" "$TO"`;
  const env = { ...process.env, CARGO_TARGET_DIR: targetDir, BUILT: built, TO: to };
  const run = spawnSync("flock", [join(targetDir, "bpfleet.lock"), "sh", "-c", script, "sh", ...command], {
    stdio: "inherit",
    env,
  });
  if (run.status !== 0) throw new BuildError(`build ${crate}: cargo ended with ${run.status ?? run.error?.message}`);
}

/** Puts a whole file in place: a process that has the old one loaded keeps it, and a reader never sees half of one. */
function place(from: string, to: string): void {
  fs.mkdirSync(dirname(to), { recursive: true });
  const half = `${to}.${process.pid}`;
  fs.copyFileSync(from, half);
  fs.renameSync(half, to);
}

function placeTree(from: string, to: string): void {
  for (const file of fs.globSync("**/*.h", { cwd: from })) place(join(from, file), join(to, file));
}

function dropOldBuilds(): void {
  const builds = fs.globSync("*.node", { cwd: cacheDir }).map((file) => join(cacheDir, file));
  const newestFirst = builds.toSorted((a, b) => fs.statSync(b).mtimeMs - fs.statSync(a).mtimeMs);
  for (const addon of newestFirst.slice(cachedBuilds)) {
    fs.rmSync(addon, { force: true });
    fs.rmSync(addon.replace(/\.node$/, ".include"), { recursive: true, force: true });
  }
}

function main(): void {
  const hash = sourceHash();
  const isBuilt = fs.existsSync(outputs.addon) && fs.existsSync(join(outputs.include, "bpf/bpf_helpers.h"));
  if (isBuilt && fs.existsSync(stampFile) && fs.readFileSync(stampFile, "utf8") === hash) return;

  const cached = {
    addon: join(cacheDir, `${hash}.node`),
    include: join(cacheDir, `${hash}.include`),
  };
  if (!fs.existsSync(cached.addon)) {
    const cargo = findCargo();
    exportHeaders(cargo, cached.include);
    placeTree(cached.include, outputs.include);
    build(cargo, cached.addon);
    dropOldBuilds();
  }
  placeTree(cached.include, outputs.include);
  place(cached.addon, outputs.addon);
  fs.writeFileSync(stampFile, hash);
}

try {
  main();
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
