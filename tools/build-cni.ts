/**
 * Builds the CNI plug-in: build/cni/bpfleet-cni, linked statically, so that it runs on any node. With musl where rustc has
 * that target (a third of the size of the other), else with glibc.
 *
 * Nothing happens while the sources' hash is that of the last build.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { buildCrate, BuildError, cacheHome, dropOldBuilds, findCargo, place, remapped, runBuild } from "./cargo.ts";

const root = join(import.meta.dirname, "..");
const crate = join(root, "packages/cni");
const output = join(root, "build/cni/bpfleet-cni");
const stampFile = join(root, "build/cni/stamp");
const cacheDir = join(cacheHome, "cni-plugin");
const machine = process.arch === "arm64" ? "aarch64" : "x86_64";

function targetOf(cargo: string): string {
  const beside = join(dirname(cargo), "rustc");
  const rustc = fs.existsSync(beside) ? beside : "rustc";
  const { stdout, error } = spawnSync(rustc, ["--print", "sysroot"], { encoding: "utf8" });
  if (error !== undefined) throw new BuildError(`ask ${rustc} where it is: ${error.message}`);
  const musl = `${machine}-unknown-linux-musl`;
  const hasMusl = fs.existsSync(join(stdout.trim(), "lib/rustlib", musl, "lib"));
  return hasMusl ? musl : `${machine}-unknown-linux-gnu`;
}

function sourceHash(target: string): string {
  const hash = createHash("sha256").update(`${target} ${remapped}\n`);
  for (const file of ["Cargo.toml", "Cargo.lock", ...fs.globSync("src/*.rs", { cwd: crate }).toSorted()])
    hash.update(`${file}\n`).update(fs.readFileSync(join(crate, file)));
  return hash.digest("hex").slice(0, 32);
}

function main(): void {
  const cargo = findCargo();
  const target = targetOf(cargo);
  const hash = sourceHash(target);
  if (fs.existsSync(output) && fs.existsSync(stampFile) && fs.readFileSync(stampFile, "utf8") === hash) return;
  const cached = join(cacheDir, hash);
  if (!fs.existsSync(cached)) {
    const built = join(target, "release/bpfleet-cni");
    buildCrate(cargo, { crate, args: ["--target", target], flags: "-C target-feature=+crt-static", built }, cached);
    dropOldBuilds(cacheDir, "*", () => []);
  }
  place(cached, output);
  fs.chmodSync(output, 0o755);
  fs.writeFileSync(stampFile, hash);
}

runBuild(main);
