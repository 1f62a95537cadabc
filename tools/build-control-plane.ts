import { createHash } from "node:crypto";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../test/cluster/control-plane", import.meta.url));

/** The API server's own version is stamped in by the linker; without it `kubectl version` fails. */
const programs = [
  { name: "etcd", package: "go.etcd.io/etcd/server/v3", stamp: false },
  { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver", stamp: true },
  { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl", stamp: true },
] as const;

const buildFlags = ["-trimpath", "-mod=readonly"];

/** Where the binaries are, or would be: the folder's name changes with whatever they are made from. */
export function controlPlaneFolder(): string {
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum"]) hash.update(readFileSync(join(source, file)));
  hash.update(JSON.stringify([programs, buildFlags, process.platform, process.arch]));
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return join(cache, "bpfleet", "control-plane", hash.digest("hex").slice(0, 16));
}

/** Why the binaries cannot be built here, or `undefined` when they can. */
export function whyNoBuild(): string | undefined {
  const asked = spawnSync("go", ["env", "GOVERSION"], { encoding: "utf8", env: goEnvironment() });
  if (asked.status !== 0) return "go is not installed; install Go 1.26 or newer";
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(asked.stdout) ?? [];
  if (Number(major) > 1 || Number(minor) >= 26) return undefined;
  return `go is ${asked.stdout.trim()}; install Go 1.26 or newer`;
}

/** The folder of etcd, kube-apiserver and kubectl; builds what is missing (minutes the first time, then nothing). */
export function buildControlPlane(): string {
  const folder = controlPlaneFolder();
  mkdirSync(folder, { recursive: true });
  const version = kubernetesVersion();
  for (const program of programs) {
    const target = join(folder, program.name);
    if (existsSync(target)) continue;
    const startedAt = Date.now();
    console.error(`building ${program.name}`);
    const scratch = mkdtempSync(join(folder, "building-"));
    try {
      const linker = program.stamp ? `-s -w ${versionStamp(version)}` : "-s -w";
      const made = join(scratch, program.name);
      execFileSync(
        "nice",
        ["-n", "10", "go", "build", ...buildFlags, "-ldflags", linker, "-o", made, program.package],
        {
          cwd: source,
          env: goEnvironment(),
          stdio: ["ignore", "inherit", "inherit"],
        },
      );
      renameSync(made, target);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
    console.error(`built ${program.name} in ${Math.round((Date.now() - startedAt) / 1000)} s`);
  }
  return folder;
}

function kubernetesVersion(): string {
  const [, version] = /\sk8s\.io\/kubernetes (v[\d.]+)/.exec(readFileSync(join(source, "go.mod"), "utf8")) ?? [];
  if (version === undefined) throw new Error(`${source}/go.mod names no version of k8s.io/kubernetes`);
  return version;
}

function versionStamp(version: string): string {
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

/** GOTOOLCHAIN=local: never download another compiler. */
function goEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOTOOLCHAIN: "local" };
}

if (import.meta.main) {
  const reason = whyNoBuild();
  if (reason !== undefined) {
    console.error(`build control plane: ${reason}`);
    process.exit(1);
  }
  console.log(buildControlPlane());
}
