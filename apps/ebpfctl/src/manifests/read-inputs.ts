import { readdir, readFile, stat } from "node:fs/promises";
import { extname, isAbsolute, join, relative, resolve } from "node:path";
import { cutManifest, type CutObject } from "@bpfleet/agent";
import type { Issue } from "@bpfleet/base";
import { Failure } from "../failure.ts";
import type { World } from "../world.ts";

export interface InputFlags {
  readonly filename: readonly string[];
  readonly recursive?: true | undefined;
}

export interface ReadInputs {
  readonly objects: readonly InputObject[];
  readonly issues: readonly Issue[];
}

/** One object of the input; positions carry the file's name as the user gave it. */
export interface InputObject extends CutObject {
  /** The same place by its absolute path, for the store. */
  readonly storedSource: CutObject["source"];
}

const standardInput = "<stdin>";
const extensions = new Set([".yaml", ".yml", ".json"]);

/** Reads all that `-f` names: files, folders, standard input. Mistakes in the texts are in the result, all of them. */
export async function readInputs(flags: InputFlags, world: World): Promise<ReadInputs> {
  if (flags.filename.length === 0) throw new Failure("must specify -f: a file, a folder, or - for standard input");
  const objects: InputObject[] = [];
  const issues: Issue[] = [];
  for (const name of flags.filename.flatMap((names) => names.split(",")).filter((part) => part !== "")) {
    for (const file of await expand(name, flags.recursive === true, world.cwd)) {
      const text = file === "-" ? await world.readStdin() : decode(await readInput(file, world.cwd), file);
      const shown = file === "-" ? standardInput : file;
      const cut = cutManifest(text, shown);
      issues.push(...cut.issues);
      const stored = file === "-" ? standardInput : resolve(world.cwd, file);
      objects.push(...cut.objects.map((object) => ({ ...object, storedSource: { ...object.source, file: stored } })));
    }
  }
  if (objects.length === 0 && issues.length === 0) throw new Failure("no objects passed: the input holds none");
  return { objects, issues };
}

async function expand(name: string, isRecursive: boolean, cwd: string): Promise<readonly string[]> {
  if (name === "-") return [name];
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(name)) {
    throw new Failure(
      `read ${name}: addresses are not fetched, so that nobody between here and there decides what this node runs; download it, look at it, and apply the file`,
    );
  }
  const path = isAbsolute(name) ? name : resolve(cwd, name);
  const facts = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") throw new Failure(`the path "${name}" does not exist`, { cause });
    throw new Failure(`read ${name}: ${cause.code ?? cause.message}`, { cause });
  });
  if (!facts.isDirectory()) return [name];
  const entries = await readdir(path, { recursive: isRecursive, withFileTypes: true });
  const files = entries
    .filter((entry) => !entry.isDirectory() && extensions.has(extname(entry.name)))
    .map((entry) => join(name, relative(path, join(entry.parentPath, entry.name))))
    .toSorted();
  if (files.length === 0) {
    throw new Failure(
      `error reading [${name}]: recognized file extensions are [.json .yaml .yml]${isRecursive ? "" : "; -R looks into folders below it too"}`,
    );
  }
  return files;
}

async function readInput(file: string, cwd: string): Promise<Uint8Array> {
  try {
    return await readFile(resolve(cwd, file));
  } catch (cause) {
    throw new Failure(
      `read ${file}: ${cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)}`,
      { cause },
    );
  }
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new Failure(`read ${file}: it is not UTF-8 text`, { cause });
  }
}
