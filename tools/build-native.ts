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
import { dirname, join } from "node:path";
import { BuildError, buildCrate, cacheHome, dropOldBuilds, findCargo, place, remapped, runBuild } from "./cargo.ts";

const root = join(import.meta.dirname, "..");
const crate = join(root, "packages/native");
const outputs = {
  addon: join(root, "build/native/bpfleet.node"),
  include: join(root, "build/include"),
};
const stampFile = join(root, "build/native/stamp");
const isStatic = process.argv.includes("--static");
const cacheDir = join(cacheHome, "native");
/** The headers of the kernel API that bpf_helpers.h of this libbpf expects; older distributions lack half of bpf.h. */
const uapiHeaders = ["bpf.h", "bpf_common.h", "btf.h"];

function sourceHash(): string {
  const rust = fs.globSync("src/**/*.rs", { cwd: crate }).toSorted();
  const hash = createHash("sha256");
  hash.update(`${process.arch} ${libcVersion()} ${isStatic ? "static" : "shared"} ${remapped} ${uapiHeaders.join()}\n`);
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

function placeTree(from: string, to: string): void {
  for (const file of fs.globSync("**/*.h", { cwd: from })) place(join(from, file), join(to, file));
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
    requireSystem();
    const args = isStatic ? ["--features", "static"] : [];
    buildCrate(cargo, { crate, args, built: "release/libbpfleet_native.so" }, cached.addon);
    dropOldBuilds(cacheDir, "*.node", (addon) => [addon.replace(/\.node$/, ".include")]);
  }
  placeTree(cached.include, outputs.include);
  place(cached.addon, outputs.addon);
  fs.writeFileSync(stampFile, hash);
}

runBuild(main);
