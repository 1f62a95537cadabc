import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { rolldown } from "rolldown";

export interface Bundle {
  /** Name of each file → what it holds; one file is called by each entry. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Text of the licences of all packages of others that are in it. */
  readonly licences: string;
}

/**
 * The entries and all that they import, as few files. `import.meta.dirname` becomes the folder of the source
 * below `home`, so that what is found beside the sources is found there.
 */
export async function bundle(root: string, entries: Readonly<Record<string, string>>, home: string): Promise<Bundle> {
  const build = await rolldown({
    cwd: root,
    input: Object.fromEntries(Object.entries(entries).map(([name, path]) => [name, join(root, path)])),
    platform: "node",
    external: [/\.node$/],
    logLevel: "warn",
    plugins: [
      narrowUndici,
      narrowHttp,
      {
        name: "places",
        transform(code, id) {
          if (!code.includes("import.meta.dirname") || id.includes("node_modules")) return undefined;
          const place = JSON.stringify(join(home, relative(root, dirname(id))));
          return { code: code.replaceAll("import.meta.dirname", place), map: null };
        },
      },
    ],
  });
  const chunkFileNames = "[name]-[hash].js";
  const { output } = await build.generate({ format: "esm", chunkFileNames, minify: false, comments: false });
  await build.close();
  const files = new Map<string, Uint8Array>();
  const modules: string[] = [];
  for (const part of output) {
    files.set(part.fileName, Buffer.from(part.type === "chunk" ? asAscii(part.code) : part.source));
    if (part.type === "chunk") modules.push(...Object.keys(part.modules));
  }
  return { files, licences: licencesOf(modules) };
}

/** Its whole index brings a browser's fetch, caches, mocks and a parser on trial along, which cost a process 2 MiB. */
const narrowUndici = {
  name: "narrow-undici",
  load(id: string): string | undefined {
    if (id.includes("/node_modules/undici/lib/milo/")) return `throw new Error("undici is bundled without milo");\n`;
    if (!id.endsWith("/node_modules/undici/index.js")) return undefined;
    return `Object.assign(require("./lib/dispatcher/dispatcher").prototype, require("./lib/api"));
exports.Agent = require("./lib/dispatcher/agent");
exports.ProxyAgent = require("./lib/dispatcher/proxy-agent");
`;
  },
  transform(code: string, id: string): undefined {
    if (id.includes("node_modules")) return;
    for (const [, names = ""] of code.matchAll(/import \{([^}]*)\} from "undici"/g)) {
      const others = names
        .split(",")
        .map((name) => name.trim())
        .filter((name) => !/^(type .*|Agent|ProxyAgent|)$/.test(name));
      if (others.length > 0) throw new Error(`bundle ${id}: undici is bundled without ${others.join(", ")}`);
    }
  },
};

const narrowed = "narrow-http";

/**
 * Imported as a module `node:http` shows all that it has, a WebSocket too, for which Node loads an undici of its own: that
 * costs a process 2 MiB. Asked for it as a whole it does not look.
 */
const narrowHttp = {
  name: "narrow-http",
  resolveId(source: string, _importer: string | undefined, { kind }: { readonly kind: string }): string | undefined {
    return source === "node:http" && kind === "import-statement" ? narrowed : undefined;
  },
  load(id: string): string | undefined {
    if (id !== narrowed) return undefined;
    return `export const { Agent, IncomingMessage, createServer, request } = process.getBuiltinModule("node:http");\n`;
  },
};

/** Node keeps the text of what it runs: two bytes a character as soon as one of them is not ASCII. */
function asAscii(code: string): string {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function licencesOf(modules: readonly string[]): string {
  const folders = new Set(
    modules.flatMap((path) => {
      const [, folder] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
      return folder === undefined ? [] : [folder];
    }),
  );
  const texts = Array.from(folders, (folder) => {
    const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, string>;
    const [file] = globSync("{LICENSE,LICENCE,license,License,COPYING}*", { cwd: folder }).toSorted();
    const text = file === undefined ? `Licence: ${about["license"]}` : readFileSync(join(folder, file), "utf8").trim();
    return `${about["name"]} ${about["version"]} (${about["license"]})\n\n${text}\n`;
  });
  return texts.toSorted().join(`\n${"-".repeat(80)}\n\n`);
}
