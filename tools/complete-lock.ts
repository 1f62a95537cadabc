/**
 * Completes package-lock.json after a change of dependencies: `node tools/complete-lock.ts [--check]`.
 *
 * Some registries do not serve the builds of a tool for other platforms, and npm then leaves them out of
 * the lockfile; `npm ci` of npm 11 refuses such a lockfile. This adds each missing one by name, version
 * and platform, so that every npm takes the lockfile and skips what is not for its machine.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface LockedPackage {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

interface Lockfile {
  readonly packages: Record<string, LockedPackage>;
}

const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
const processors = ["arm64", "arm", "ia32", "loong64", "ppc64", "riscv64", "s390x", "x64", "wasm32"];

/** The platform by the words of a name: `@oxfmt/binding-linux-arm64-musl`. */
function platformOf(name: string): Pick<LockedPackage, "os" | "cpu" | "libc"> | undefined {
  const words = name.replace("armv7", "arm").replace("aarch64", "arm64").split(/[/-]/);
  const os = systems.find((system) => words.includes(system));
  const cpu = processors.find((processor) => words.includes(processor));
  // WebAssembly runs on every system.
  if (cpu === "wasm32") return { cpu: [cpu] };
  if (os === undefined || cpu === undefined) return undefined;
  const libc = words.some((word) => word.startsWith("musl"))
    ? "musl"
    : words.some((word) => word.startsWith("gnu"))
      ? "glibc"
      : undefined;
  return { cpu: [cpu], ...(libc === undefined ? {} : { libc: [libc] }), os: [os] };
}

function findMissing(packages: Lockfile["packages"]): Map<string, LockedPackage> {
  const missing = new Map<string, LockedPackage>();
  for (const { dev, optionalDependencies = {} } of Object.values(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      if (packages[`node_modules/${name}`] !== undefined) continue;
      const platform = platformOf(name);
      if (platform === undefined) throw new RangeError(`complete package-lock.json: no platform in the name ${name}`);
      missing.set(`node_modules/${name}`, { version, ...(dev ? { dev } : {}), optional: true, ...platform });
    }
  }
  return missing;
}

const path = join(import.meta.dirname, "../package-lock.json");
const lock = JSON.parse(readFileSync(path, "utf8")) as Lockfile;
const missing = findMissing(lock.packages);
const packages = Object.fromEntries(
  [...Object.entries(lock.packages), ...missing].toSorted(([a], [b]) => (a < b ? -1 : 1)),
);
if (!process.argv.includes("--check")) {
  writeFileSync(path, `${JSON.stringify({ ...lock, packages }, null, 2)}\n`);
  console.log(`${missing.size} packages for other platforms added to package-lock.json`);
} else if (missing.size > 0) {
  console.error(
    `check package-lock.json: ${missing.size} packages for other platforms are left out; run: node tools/complete-lock.ts`,
  );
  process.exitCode = 1;
}
