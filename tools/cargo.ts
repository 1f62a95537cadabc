/** What the programs in Rust are built with, and where finished builds are kept for the next clone. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";

export const cacheHome: string = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "bpfleet");
export const targetDir: string = process.env["BPFLEET_CARGO_TARGET"] || join(cacheHome, "cargo-target");
/** Part of what finished builds are known by: those before named places of the machine. */
export const remapped = "without places";
const cachedBuilds = 8;
const oldestCargo = [1, 88] as const;

export class BuildError extends Error {}

export function findCargo(): string {
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

function cargoVersion(cargo: string): readonly number[] | undefined {
  const run = spawnSync(cargo, ["--version"], { encoding: "utf8" });
  const match = /^cargo (\d+)\.(\d+)/.exec(run.stdout ?? "");
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}

export interface CargoBuild {
  /** Folder with its Cargo.toml. */
  readonly crate: string;
  readonly args?: readonly string[];
  /** For rustc. */
  readonly flags?: string;
  /** Below the target directory. */
  readonly built: string;
}

/**
 * Builds to a file. Clones share the target directory: nobody may build between our build and our copy. What is built does not
 * depend on where cargo keeps the sources of others, which messages of panics name.
 */
export function buildCrate(cargo: string, { crate, args = [], flags = "", built }: CargoBuild, to: string): void {
  const cargoHome = process.env["CARGO_HOME"] || join(homedir(), ".cargo");
  const rustFlags = [process.env["RUSTFLAGS"], `--remap-path-prefix=${cargoHome}=/cargo`, flags];
  fs.mkdirSync(targetDir, { recursive: true });
  fs.mkdirSync(dirname(to), { recursive: true });
  const command = [cargo, "build", "--release", "--locked", "--manifest-path", join(crate, "Cargo.toml"), ...args];
  const script = `"$@" && cp "$BUILT" "$TO.half" && mv "$TO.half" "$TO"`;
  const run = spawnSync("flock", [join(targetDir, "bpfleet.lock"), "sh", "-c", script, "sh", ...command], {
    stdio: "inherit",
    env: {
      ...process.env,
      RUSTFLAGS: rustFlags.filter(Boolean).join(" "),
      CARGO_TARGET_DIR: targetDir,
      BUILT: join(targetDir, built),
      TO: to,
    },
  });
  if (run.status !== 0) throw new BuildError(`build ${crate}: cargo ended with ${run.status ?? run.error?.message}`);
}

/** Puts a whole file in place: a process that has the old one loaded keeps it, and a reader never sees half of one. */
export function place(from: string, to: string): void {
  fs.mkdirSync(dirname(to), { recursive: true });
  const half = `${to}.${process.pid}`;
  fs.copyFileSync(from, half);
  fs.renameSync(half, to);
}

/** Of the files that `pattern` means, and of what `besides` says lies beside each. */
export function dropOldBuilds(folder: string, pattern: string, besides: (file: string) => readonly string[]): void {
  const builds = fs.globSync(pattern, { cwd: folder }).map((file) => join(folder, file));
  const newestFirst = builds.toSorted((a, b) => fs.statSync(b).mtimeMs - fs.statSync(a).mtimeMs);
  for (const build of newestFirst.slice(cachedBuilds))
    for (const path of [build, ...besides(build)]) fs.rmSync(path, { recursive: true, force: true });
}

/** Says what went wrong with the build, and nothing of where in this program. */
export function runBuild(main: () => void): void {
  try {
    main();
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
