import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Programs that are built from one Go module whose go.mod and go.sum pin everything. */
export interface GoPrograms {
  /** Folder in the cache, and what messages call them. */
  readonly name: string;
  /** Folder of go.mod and go.sum. */
  readonly source: string;
  readonly programs: readonly GoProgram[];
}

export interface GoProgram {
  readonly name: string;
  readonly package: string;
  /** Kubernetes says its version by what the linker stamps in; without it `kubectl version` fails. */
  readonly stamp: boolean;
}

/** The release that is brought where the machine's Go is older than `oldestGo`. */
const broughtGo = "1.26.8";
const oldestGo = [1, 26] as const;
const buildFlags = ["-trimpath", "-mod=readonly"];

/** Where the binaries are, or would be: the folder's name changes with whatever they are made from. */
export function programsFolder(set: GoPrograms): string {
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum"]) hash.update(readFileSync(join(set.source, file)));
  hash.update(JSON.stringify([set.programs, buildFlags, process.platform, process.arch]));
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return join(cache, "bpfleet", set.name, hash.digest("hex").slice(0, 16));
}

/** Whether nothing is left to build. */
export function areBuilt(set: GoPrograms): boolean {
  return set.programs.every((program) => existsSync(join(programsFolder(set), program.name)));
}

/** Why the binaries cannot be built here, or `undefined` when they can. */
export function whyNoBuild(): string | undefined {
  const version = goVersion();
  if (version === undefined) return "go is not installed; install any Go from 1.19 on";
  if (isAtLeast(version, [1, 19])) return undefined;
  return `go is ${version}; install any Go from 1.19 on`;
}

/** The folder of the binaries; builds what is missing (minutes the first time, then nothing). */
export function buildPrograms(set: GoPrograms): string {
  const folder = programsFolder(set);
  mkdirSync(folder, { recursive: true });
  const missing = set.programs.filter((program) => !existsSync(join(folder, program.name)));
  if (missing.length === 0) return folder;
  const go = findGo();
  for (const [index, program] of missing.entries()) {
    const startedAt = Date.now();
    console.error(`building ${program.name} (${index + 1} of ${missing.length})`);
    const scratch = mkdtempSync(join(folder, "building-"));
    try {
      const linker = program.stamp ? `-s -w ${versionStamp(set.source)}` : "-s -w";
      const made = join(scratch, program.name);
      const args = [go.program, "build", ...buildFlags, "-ldflags", linker, "-o", made, program.package];
      execFileSync("nice", ["-n", "10", ...args], {
        cwd: set.source,
        env: go.environment,
        stdio: ["ignore", "inherit", "inherit"],
      });
      renameSync(made, join(folder, program.name));
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
    console.error(`built ${program.name} in ${Math.round((Date.now() - startedAt) / 1000)} s`);
  }
  return folder;
}

/** Where the sources of a module that `set` uses lie. */
export function moduleFolder(set: GoPrograms, module: string): string {
  const { program, environment: env } = findGo();
  execFileSync(program, ["mod", "download", module], { cwd: set.source, env });
  const args = ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module];
  return execFileSync(program, args, { cwd: set.source, env, encoding: "utf8" }).trim();
}

/**
 * The machine's Go where it is new enough. Else the release is fetched as a module, whose content the
 * checksum database vouches for; a Go before 1.21 cannot run it by itself, but it can fetch it.
 */
function findGo(): { readonly program: string; readonly environment: NodeJS.ProcessEnv } {
  const version = goVersion();
  const environment = goEnvironment();
  if (version !== undefined && isAtLeast(version, oldestGo)) return { program: "go", environment };
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const module = `golang.org/toolchain@v0.0.1-go${broughtGo}.${process.platform}-${architecture}`;
  const answer = execFileSync("go", ["mod", "download", "-json", module], {
    cwd: homedir(),
    env: environment,
    encoding: "utf8",
  });
  const { Dir: folder } = JSON.parse(answer) as { Dir: string };
  // Modules have no mode bits.
  for (const file of globSync([join(folder, "bin/*"), join(folder, "pkg/tool/*/*")])) chmodSync(file, 0o755);
  return { program: join(folder, "bin/go"), environment: { ...environment, GOROOT: folder } };
}

function goVersion(): string | undefined {
  const asked = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8", env: goEnvironment() });
  return asked.status === 0 ? asked.stdout.trim() : undefined;
}

function isAtLeast(version: string, [wantedMajor, wantedMinor]: readonly [number, number]): boolean {
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > wantedMajor || (Number(major) === wantedMajor && Number(minor) >= wantedMinor);
}

function versionStamp(source: string): string {
  const [, version] = /\sk8s\.io\/kubernetes (v[\d.]+)/.exec(readFileSync(join(source, "go.mod"), "utf8")) ?? [];
  if (version === undefined) throw new Error(`${source}/go.mod names no version of k8s.io/kubernetes`);
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  return ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
    .flatMap((at) => [
      `-X ${at}.gitVersion=${version}`,
      `-X ${at}.gitMajor=${major}`,
      `-X ${at}.gitMinor=${minor}`,
      `-X ${at}.gitTreeState=clean`,
      `-X ${at}.gitCommit=unknown`,
    ])
    .join(" ");
}

/** GOTOOLCHAIN=local: no other compiler than the one that `findGo` chose. */
function goEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOTOOLCHAIN: "local" };
}
