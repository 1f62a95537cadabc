import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { plainUser } from "./names.ts";
import type { LayerEntry } from "./layer.ts";

const authorities = "/etc/ssl/certs/ca-certificates.crt";

/**
 * What Node and the addon run on: Node itself, the libraries that both are linked with as this machine has
 * them, the certificate authorities, and who may sign in. Nothing else: no shell, no package manager.
 */
export function systemEntries(node: string, addon: string): LayerEntry[] {
  const libraries = librariesOf(node, addon);
  const file = (path: string, bytes: Uint8Array | string, mode = 0o644): LayerEntry => ({
    kind: "file",
    path: path.replace(/^\//, ""),
    mode,
    bytes: typeof bytes === "string" ? Buffer.from(bytes) : bytes,
  });
  return [
    file("usr/bin/node", stripped(node), 0o755),
    ...Array.from(libraries, (path) => file(canonicalPath(path), readFileSync(path), 0o755)),
    // Where distributions have merged them, programs name their loader by the old path.
    ...["lib", "lib64"].map((name): LayerEntry => ({ kind: "link", path: name, target: `usr/${name}` })),
    file(authorities, readFileSync(authorities)),
    file("etc/passwd", `root:x:0:0:root:/:/nologin\nbpfleet:x:${plainUser}:${plainUser}:bpfleet:/:/nologin\n`),
    file("etc/group", `root:x:0:\nbpfleet:x:${plainUser}:\n`),
    file("etc/nsswitch.conf", "hosts: files dns\n"),
    { kind: "folder", path: "tmp", mode: 0o1777 },
    // Mount points: nothing can be made here when the root is read-only.
    ...["dev", "proc", "sys", "run", "var/lib/bpfleet", "etc/bpfleet"].map((path): LayerEntry => ({
      kind: "folder",
      path,
      mode: 0o755,
    })),
    ...licences(node, [...libraries, authorities]).map(([name, text]) => file(`usr/share/doc/${name}/copyright`, text)),
  ];
}

/**
 * What of the machine that builds decides on the bytes, for labels of the images: versions of what is in them and of what made
 * them, and which authorities this machine trusts.
 */
export function describeOrigin(node: string, addon: string, object: string): Readonly<Record<string, string>> {
  const [, clang = "?"] = /clang version ([\d.]+)/.exec(readFileSync(object, "latin1")) ?? [];
  const packages = packagesOf([...librariesOf(node, addon), authorities]).toSorted();
  const versions = execFileSync("dpkg-query", ["--show", "--showformat=${Package} ${Version}\n", ...packages], {
    encoding: "utf8",
  });
  const trusted = createHash("sha256").update(readFileSync(authorities)).digest("hex");
  return {
    "io.bpfleet.made-of": [`node ${versionOf(node)}`, ...new Set(versions.trim().split("\n"))].join(", "),
    "io.bpfleet.made-with": `gcc ${versionOf("gcc")}, strip ${versionOf("strip")}, clang ${clang}`,
    "io.bpfleet.trusts": `sha256:${trusted}`,
  };
}

function versionOf(program: string): string {
  const printed = execFileSync(program, ["--version"], { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } });
  const [version] = /\d+\.\d+(\.\d+)?/.exec(printed.replace(/\(.*?\)/g, "")) ?? [];
  if (version === undefined) throw new Error(`ask ${program} for its version: it says ${JSON.stringify(printed)}`);
  return version;
}

/** Paths as the loader finds them: by soname, in its own folders. */
function librariesOf(...programs: readonly string[]): ReadonlySet<string> {
  const env = { ...process.env, LC_ALL: "C" };
  const all = programs.flatMap((program) =>
    execFileSync("ldd", [program], { encoding: "utf8", env })
      .split("\n")
      .flatMap((line) => {
        if (line.includes("not found"))
          throw new Error(`find libraries of ${program}: there is no${line.replace("=> not found", "")}`);
        const [, path] = /(\/\S+) \(0x/.exec(line) ?? [];
        return path === undefined ? [] : [path];
      }),
  );
  return new Set(all);
}

/** `/lib/…` is a link to `/usr/lib/…` in the image. */
function canonicalPath(path: string): string {
  return path.replace(/^\/lib(64)?\//, "/usr/lib$1/");
}

/** Without what only debuggers read: a fifth of it. The symbols that the addon is linked with stay. */
function stripped(program: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-images-"));
  try {
    const path = join(folder, "node");
    execFileSync("strip", ["--strip-unneeded", "--enable-deterministic-archives", "-o", path, program]);
    return readFileSync(path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Packages of the distribution that brought these files. */
function packagesOf(files: readonly string[]): readonly string[] {
  const packages = new Set(
    files.flatMap((path) => {
      const real = realpathSync(path);
      const names = [path, real, canonicalPath(real), real.replace(/^\/usr\//, "/")];
      const found = spawnSync("dpkg", ["-S", ...names], { encoding: "utf8" }).stdout ?? "";
      const [, name] = /^([^:,\s]+)/.exec(found) ?? [];
      return name === undefined ? [] : [name];
    }),
  );
  // Made when it is installed, so that no package owns it.
  packages.add("ca-certificates");
  return [...packages];
}

/** By package; Node's own stands beside it. */
function licences(node: string, files: readonly string[]): [string, string][] {
  const own = join(dirname(dirname(node)), "LICENSE");
  return [
    ...(existsSync(own) ? [["node", readFileSync(own, "utf8")] as [string, string]] : []),
    ...packagesOf(files).map((name): [string, string] => {
      const path = `/usr/share/doc/${name}/copyright`;
      if (!existsSync(path))
        throw new Error(`find the licence of ${basename(name)}: there is no ${path}; build on Debian`);
      return [name, readFileSync(path, "utf8")];
    }),
  ];
}
