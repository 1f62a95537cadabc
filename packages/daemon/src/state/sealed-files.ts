import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { encodeIdentity, mapIdentity, type MapEntries, type MapSpec, type NodePlan } from "@bpfleet/kernel";
import { cannotWrite } from "./state-file.ts";

/** Shorter contents stand in the plan itself. */
const leastBytes = 1 << 16;
const label = "bpfleet-sealed 1";

/**
 * Long contents of sealed maps, each in a file named by what the map is: a plan is kept again and again, most of what it
 * seals stays. A first line with checksum and length of the keys, then the keys, then the values.
 */
export class SealedFiles {
  readonly #directory: string;
  /** Names, and whether this process has read or written the file: what it has not may be damaged. */
  #there: Map<string, "known" | "unread"> | undefined;
  #serial = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** `undefined`: what is short, or not sealed. */
  nameOf(spec: MapSpec): string | undefined {
    const { contents } = spec;
    if (contents.kind !== "sealed" || contents.entries.values.byteLength < leastBytes) return undefined;
    return encodeIdentity(mapIdentity(spec));
  }

  /**
   * Writes what is not there, and then `plan`, which names it. All is there when the promise resolves, and over a power
   * cut when `durable` does; where something cannot be written, nothing is that was not there before.
   */
  async saveWith(
    { maps }: NodePlan,
    plan: () => Promise<{ readonly durable: Promise<void> }>,
  ): Promise<{ readonly durable: Promise<unknown> }> {
    const there = this.#known();
    const written: Promise<void>[] = [];
    const added: string[] = [];
    try {
      for (const spec of maps) {
        const name = this.nameOf(spec);
        if (name === undefined || there.get(name) === "known" || spec.contents.kind !== "sealed") continue;
        const { durable } = await this.#write(name, spec.contents.entries);
        written.push(durable);
        if (!there.has(name)) added.push(name);
        there.set(name, "known");
      }
      written.push((await plan()).durable);
    } catch (error) {
      for (const name of added) await this.#remove(name);
      throw error;
    }
    const durable = Promise.all(written);
    durable.catch(() => undefined);
    return { durable };
  }

  async keepOnly(plans: readonly NodePlan[]): Promise<void> {
    const wanted = new Set(plans.flatMap(({ maps }) => maps.flatMap((spec) => this.nameOf(spec) ?? [])));
    for (const name of this.#known().keys()) if (!wanted.has(name)) await this.#remove(name);
  }

  async #remove(name: string): Promise<void> {
    this.#known().delete(name);
    await rm(join(this.#directory, name), { force: true });
  }

  /** Throws when it is not there, or damaged. */
  load(name: string): MapEntries {
    const path = join(this.#directory, name);
    const whole = readFileSync(path);
    const end = whole.indexOf("\n");
    const [first = "", second = "", sum, keyBytes, count] = whole.subarray(0, Math.max(end, 0)).toString().split(" ");
    const body = whole.subarray(end + 1);
    if (`${first} ${second}` !== label || sum !== sumOf(body))
      throw new Error(`read ${path}: its checksum does not match, it is damaged or cut short`);
    this.#known().set(name, "known");
    const cut = Number(keyBytes);
    return {
      count: Number(count),
      keys: new Uint8Array(body.subarray(0, cut)),
      values: new Uint8Array(body.subarray(cut)),
    };
  }

  async #write(name: string, entries: MapEntries): Promise<{ readonly durable: Promise<void> }> {
    const path = join(this.#directory, name);
    const draft = join(this.#directory, `.${process.pid}.${this.#serial++}.new`);
    const file = await this.#fill(draft, path, entries).catch((error: unknown) => {
      throw cannotWrite(this.#directory, error);
    });
    const durable = syncAndClose(file);
    durable.catch(() => undefined);
    return { durable };
  }

  async #fill(draft: string, path: string, { count, keys, values }: MapEntries): Promise<FileHandle> {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const file = await open(draft, "wx", 0o600);
    try {
      await file.writeFile(`${label} ${sumOf(keys, values)} ${keys.byteLength} ${count}\n`);
      await file.writeFile(keys);
      await file.writeFile(values);
      await rename(draft, path);
    } catch (error) {
      await file.close();
      await rm(draft, { force: true });
      throw error;
    }
    return file;
  }

  #known(): Map<string, "known" | "unread"> {
    if (this.#there === undefined) {
      this.#there = new Map();
      try {
        for (const name of readdirSync(this.#directory)) this.#there.set(name, "unread");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      }
    }
    return this.#there;
  }
}

function sumOf(...parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

async function syncAndClose(file: FileHandle): Promise<void> {
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
