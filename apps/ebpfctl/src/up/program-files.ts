import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { NodeReport } from "@bpfleet/agent";

const kinds: readonly string[] = ["BpfProgram", "EbpfProgram"];

/** Beside the daemon's socket. */
export function programsFolder(socket: string): string {
  return join(dirname(socket), "programs");
}

/** Of a node on which nothing is in force any more. */
export function removeProgramFiles(socket: string): void {
  for (const kind of kinds) rmSync(join(programsFolder(socket), kind), { recursive: true, force: true });
}

export interface ProgramFilesAccess {
  readonly group?: number | undefined;
  readonly mode?: number | undefined;
}

/**
 * The programs of this node as files, `<directory>/<Kind>/<name>.json`: where applications find the pins of their maps
 * without a cluster. Whoever may open the maps may read them.
 */
export class ProgramFiles {
  readonly #directory: string;
  readonly #access: ProgramFilesAccess;

  constructor(directory: string, access: ProgramFilesAccess) {
    this.#directory = directory;
    this.#access = access;
  }

  /** Nothing is made on a node that never had a program. */
  update(report: NodeReport): void {
    for (const kind of kinds) {
      const programs = report.objects.filter(({ ref }) => ref.group === "bpfd.io" && ref.kind === kind);
      const texts = new Map(
        programs.map(({ ref, object }) => [`${encodeURIComponent(ref.name)}.json`, `${JSON.stringify(object)}\n`]),
      );
      const folder = join(this.#directory, kind);
      if (texts.size > 0) this.#makeFolder(folder);
      for (const name of list(folder)) if (!texts.has(name)) rmSync(join(folder, name), { force: true });
      for (const [name, text] of texts) this.#write(folder, name, text);
    }
  }

  #makeFolder(folder: string): void {
    const { group, mode = 0o640 } = this.#access;
    for (const each of [this.#directory, folder]) {
      mkdirSync(each, { recursive: true });
      chmodSync(each, (mode & 0o004) === 0 ? 0o750 : 0o755);
      chownSync(each, 0, group ?? 0);
    }
  }

  #write(folder: string, name: string, text: string): void {
    const path = join(folder, name);
    if (read(path) === text) return this.#open(path);
    const fresh = join(folder, `.${name}`);
    writeFileSync(fresh, text, { mode: 0o600 });
    this.#open(fresh);
    renameSync(fresh, path);
  }

  #open(path: string): void {
    const { group, mode = 0o640 } = this.#access;
    chownSync(path, 0, group ?? 0);
    chmodSync(path, mode & 0o644);
  }
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
