import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { getSystemErrorMessage } from "node:util";
import { KernelError } from "@bpfleet/base";

export type Loaded =
  | { readonly is: "there"; readonly text: string }
  | { readonly is: "absent" }
  /** Not ours, of another version, or damaged. */
  | { readonly is: "unusable"; readonly why: string };

/**
 * A text on disk that is read back whole or not at all: a first line with name, version and checksum,
 * then the text; replaced by rename. Only root may read it.
 */
export class StateFile {
  readonly path: string;
  readonly #label: string;
  /** First line of what is on disk. */
  #header: string | undefined;
  #serial = 0;

  constructor(path: string, name: string, version: number) {
    this.path = path;
    this.#label = `bpfleet-${name} ${version}`;
  }

  load(): Loaded {
    let whole: string;
    try {
      whole = readFileSync(this.path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return { is: "absent" };
      return { is: "unusable", why: `read ${this.path}: ${(error as Error).message}` };
    }
    const end = whole.indexOf("\n");
    const header = whole.slice(0, Math.max(end, 0));
    const text = whole.slice(end + 1);
    if (!header.startsWith("bpfleet-")) return { is: "unusable", why: `read ${this.path}: this is no file of bpfleet` };
    if (!header.startsWith(`${this.#label} `))
      return { is: "unusable", why: `read ${this.path}: it says "${header.slice(0, 40)}", wanted "${this.#label}"` };
    if (header !== this.#headerOf(text))
      return { is: "unusable", why: `read ${this.path}: its checksum does not match, it is damaged or cut short` };
    this.#header = header;
    return { is: "there", text };
  }

  /**
   * Visible to the next process when `save` resolves, so that a killed daemon finds it; what `durable`
   * resolves survives a power cut too.
   */
  async save(text: string): Promise<{ readonly durable: Promise<void> }> {
    const header = this.#headerOf(text);
    if (header === this.#header) return { durable: Promise.resolve() };
    const draft = `${this.path}.${process.pid}.${this.#serial++}.new`;
    const file = await this.#write(draft, `${header}\n${text}`).catch((error: unknown) => {
      throw cannotWrite(this.path, error);
    });
    this.#header = header;
    const durable = syncAndClose(file, dirname(this.path));
    // Whoever wants to know awaits it; a failure must not end the process of one who does not.
    durable.catch(() => undefined);
    return { durable };
  }

  async #write(draft: string, content: string): Promise<FileHandle> {
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 });
    const file = await open(draft, "wx", 0o600);
    try {
      await file.writeFile(content);
      await rename(draft, this.path);
    } catch (error) {
      await file.close();
      await rm(draft, { force: true });
      throw error;
    }
    return file;
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
    this.#header = undefined;
  }

  #headerOf(text: string): string {
    return `${this.#label} ${createHash("sha256").update(text).digest("hex")}`;
  }
}

/** The same sentence each time: what is tried again is told once. */
export function cannotWrite(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !("errno" in error) || !("code" in error)) return error;
  const isFull = error.code === "ENOSPC" || error.code === "EDQUOT";
  const said = `${getSystemErrorMessage(Number(error.errno))} (${String(error.code)})`;
  const help = `${isFull ? "make room there" : "make it writable"}, or choose another folder with --state`;
  return new KernelError(`write ${path}: ${said}; ${help}`, {
    code: "internal",
    call: "write",
    errno: String(error.code),
    retry: "backoff",
    cause: error,
  });
}

async function syncAndClose(file: Awaited<ReturnType<typeof open>>, directory: string): Promise<void> {
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  const parent = await open(directory, "r");
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}
