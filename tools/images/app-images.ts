import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { otherNames } from "@bpfleet/ebpfctl/other-names";
import { bundle } from "./bundle.ts";
import { buildLayer, composeImage } from "./image.ts";
import type { Image } from "./image.ts";
import type { LayerEntry } from "./layer.ts";
import { appImages, capabilityNumbers, chosenNames, fullName, home } from "./names.ts";
import type { AppImage } from "./names.ts";
import { smallNode } from "./node-start.ts";
import { describeOrigin, systemEntries } from "./system-files.ts";

const root = join(import.meta.dirname, "../..");
const cniPlugin = join(root, "build/cni/bpfleet-cni");

/**
 * The images of daemon, agent and operator. All have the same two layers, what runs Node and what is ours: together
 * they weigh what one does, and an upgrade brings the small one only.
 */
export async function buildAppImages(): Promise<ReadonlyMap<AppImage["app"], Image>> {
  const addon = join(root, "build/native/bpfleet.node");
  const objects = join(root, "build/bpf/objects.json");
  for (const path of [addon, objects, cniPlugin])
    if (!existsSync(path)) throw new Error(`build images: there is no ${path}; run \`make setup\` first`);
  const node = join(root, `node_modules/node-linux-${process.arch}/bin/node`);
  if (!existsSync(node))
    throw new Error(`build images: npm brought no Node for ${process.arch}; run \`make setup\` first`);
  const layers = [buildLayer(systemEntries(node, addon)), buildLayer(await ownEntries(addon))];
  const origin = describeOrigin(node, addon, join(root, "build/bpf/filter.bpf.o"));
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const version = (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version;
  return new Map(
    appImages.map(({ app, program, user }) => [
      app,
      composeImage(
        layers,
        {
          Entrypoint: [`/usr/bin/${program}`],
          User: user,
          Env: ["PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "NODE_USE_SYSTEM_CA=1"],
          WorkingDir: "/",
          Labels: {
            "org.opencontainers.image.title": program,
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.licenses": "Apache-2.0",
            ...origin,
          },
        },
        architecture,
      ),
    ]),
  );
}

/** Under the names that the environment chooses, in full. */
export function nameImages(
  images: ReadonlyMap<AppImage["app"], Image>,
  env: NodeJS.ProcessEnv,
): ReadonlyMap<string, Image> {
  return new Map(
    Array.from(chosenNames(env), ([app, name]) => {
      const image = images.get(app);
      if (image === undefined) throw new RangeError(`name images: there is none of ${app}`);
      return [fullName(name), image];
    }),
  );
}

async function ownEntries(addon: string): Promise<LayerEntry[]> {
  const entries = {
    ebpfctl: "apps/ebpfctl/src/main.ts",
    ...Object.fromEntries(appImages.map(({ app }) => [app, `apps/${app}/src/main.ts`])),
  };
  const { files, licences } = await bundle(root, entries, home);
  const at = (path: string): string => join(home, path).slice(1);
  const file = (path: string, bytes: Uint8Array | string, mode = 0o644): LayerEntry => ({
    kind: "file",
    path,
    mode,
    bytes: typeof bytes === "string" ? Buffer.from(bytes) : bytes,
  });
  const built = globSync("{*.bpf.o,objects.json}", { cwd: join(root, "build/bpf") }).toSorted();
  return [
    ...Array.from(files, ([name, bytes]) => file(at(`app/${name}`), bytes)),
    file(at("app/package.json"), '{"type":"module"}\n'),
    file(at("build/native/bpfleet.node"), readFileSync(addon), 0o755),
    ...built.map((name) => file(at(`build/bpf/${name}`), readFileSync(join(root, "build/bpf", name)))),
    file("usr/bin/bpfleet-cni", readFileSync(cniPlugin), 0o755),
    file("usr/bin/ebpfctl", script("ebpfctl"), 0o755),
    ...appImages.map(({ app, program }): LayerEntry => {
      const path = `usr/bin/${program}`;
      if (app !== "daemon") return file(path, launcher(app), 0o755);
      const capabilities = Object.values(capabilityNumbers);
      return { kind: "file", path, mode: 0o755, bytes: launcher(app, ["-DHANDS_ON_CAPABILITIES"]), capabilities };
    }),
    ...otherNames.map((name): LayerEntry => ({ kind: "link", path: `usr/bin/${name}`, target: "ebpfctl" })),
    file("usr/share/doc/bpfleet/copyright", readFileSync(join(root, "LICENSE"))),
    file("usr/share/doc/bpfleet/packages", licences),
    ...globSync("*", { cwd: join(root, "LICENSES") })
      .toSorted()
      .map((name) => file(`usr/share/doc/bpfleet/${name}`, readFileSync(join(root, "LICENSES", name)))),
  ];
}

/** A young generation of 2 MiB instead of 16 spares 15 MiB. */
function script(app: string): string {
  return `#!/usr/bin/node --max-semi-space-size=2\nimport("${home}/app/${app}.js");\n`;
}

/** A program that becomes Node with what keeps it small. */
export function launcher(app: string, options: readonly string[] = []): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-images-"));
  try {
    const source = join(import.meta.dirname, "launch.c");
    const path = join(folder, app);
    const quoted = (words: readonly string[]): string => words.map((word) => JSON.stringify(word)).join(",");
    const given = {
      SCRIPT: quoted([`${home}/app/${app}.js`]),
      FLAGS: quoted(smallNode.flags),
      SETTINGS: quoted(Object.entries(smallNode.env).flat()),
    };
    const definitions = Object.entries(given).map(([name, words]) => `-D${name}=${words}`);
    const built = ["-Os", "-static", "-s", "-Wl,--build-id=none", "-Wall", "-Werror", ...definitions, ...options];
    execFileSync("gcc", [...built, "-o", path, source]);
    return readFileSync(path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
