import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { ImageError, isRecord } from "@bpfleet/base";
import type { ErrorCode } from "@bpfleet/base";
import { digestOf, hexOf, isDigest } from "../digest.ts";
import type { Digest } from "../digest.ts";

/** A signature artifact of an image, kept beside it so that it can be verified again without a network. */
export interface StoredEvidence {
  readonly format: "bundle" | "simplesigning";
  /** Blob: the bundle, or the payload of simplesigning. */
  readonly digest: Digest;
  /** Which of the image's digests it was found under. */
  readonly over: Digest;
  /** Annotations of the layer: signature, certificate, chain, log entry of simplesigning. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** What a name meant when it was pulled. */
export interface ImageRecord {
  readonly reference: string;
  /** What the tag pointed to: an index or the manifest itself. */
  readonly root: Digest;
  readonly manifest: Digest;
  readonly config: Digest;
  readonly layer: Digest;
  /** The ELF object out of the layer. */
  readonly object: Digest;
  readonly platform: string;
  readonly evidence: readonly StoredEvidence[];
}

export interface StoreOptions {
  /** Above this the images that were not used for longest go. */
  readonly maxBytes?: number;
  /** Blobs younger than this stay though nobody names them: somebody may be about to. */
  readonly graceMs?: number;
}

export interface Collected {
  readonly removedBlobs: number;
  readonly removedImages: readonly string[];
  readonly bytes: number;
}

/**
 * Blobs by their digest and names by what they meant, as files: `blobs/sha256/<hex>`, `images/<name>.json`.
 * Files appear whole or not at all, and what is read is what was written: a blob whose bytes have changed
 * is removed and taken for absent. Several processes may use one directory.
 */
export class ContentStore {
  readonly directory: string;
  readonly #blobs: string;
  readonly #images: string;
  readonly #maxBytes: number;
  readonly #graceMs: number;

  constructor(directory: string, { maxBytes = 512 * 1024 * 1024, graceMs = 600_000 }: StoreOptions = {}) {
    this.directory = directory;
    this.#blobs = join(directory, "blobs/sha256");
    this.#images = join(directory, "images");
    this.#maxBytes = maxBytes;
    this.#graceMs = graceMs;
  }

  /** The bytes of a digest, verified; `undefined` when they are not here or are damaged. */
  async findBlob(digest: Digest): Promise<Uint8Array | undefined> {
    const path = this.#blobPath(digest);
    const bytes = await readIfThere(path);
    if (bytes === undefined) return undefined;
    if (digestOf(bytes) === digest) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    await rm(path, { force: true });
    return undefined;
  }

  async writeBlob(bytes: Uint8Array): Promise<Digest> {
    const digest = digestOf(bytes);
    const path = this.#blobPath(digest);
    const there = await stat(path).catch(() => undefined);
    if (there?.size === bytes.length && (await this.findBlob(digest)) !== undefined) {
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined);
    } else await this.#writeFile(this.#blobs, path, bytes);
    return digest;
  }

  /** What a name meant when it was last pulled for a platform. */
  async findImage(reference: string, platform: string): Promise<ImageRecord | undefined> {
    const path = this.#imagePath(reference, platform);
    const bytes = await readIfThere(path);
    const record = bytes === undefined ? undefined : parseRecord(bytes.toString());
    if (record === undefined || record.reference !== reference || record.platform !== platform) return undefined;
    const now = new Date();
    await utimes(path, now, now).catch(() => undefined);
    return record;
  }

  /** Keeps what a name means, in place of what it meant before. */
  async recordImage(record: ImageRecord): Promise<void> {
    const path = this.#imagePath(record.reference, record.platform);
    await this.#writeFile(this.#images, path, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`));
  }

  /** Most recently used first. */
  async listImages(): Promise<readonly ImageRecord[]> {
    const found = (await this.#readImages()).toSorted((a, b) => b.usedAtMs - a.usedAtMs);
    return found.map(({ record }) => record);
  }

  /** @returns whether the name was known. */
  async forgetImage(reference: string, platform: string): Promise<boolean> {
    const path = this.#imagePath(reference, platform);
    if ((await stat(path).catch(() => undefined)) === undefined) return false;
    await rm(path, { force: true });
    return true;
  }

  /**
   * Removes blobs that no image names; above the bound also images, least recently used first.
   * `inUse` are objects that are loaded: they and their images stay whatever the bound.
   */
  async collect(inUse: ReadonlySet<Digest>, nowMs: number): Promise<Collected> {
    const sizes = new Map<Digest, { readonly size: number; readonly changedAtMs: number }>();
    for (const name of await readdir(this.#blobs).catch(() => [])) {
      const facts = await stat(join(this.#blobs, name)).catch(() => undefined);
      if (facts === undefined) continue;
      const digest = `sha256:${name}`;
      if (isDigest(digest)) sizes.set(digest, { size: facts.size, changedAtMs: facts.mtimeMs });
      else if (nowMs - facts.mtimeMs > this.#graceMs) await rm(join(this.#blobs, name), { force: true });
    }
    const sizeOf = (digests: ReadonlySet<Digest>) =>
      [...digests].reduce((sum, digest) => sum + (sizes.get(digest)?.size ?? 0), 0);
    const images = (await this.#readImages()).toSorted((a, b) => b.usedAtMs - a.usedAtMs);
    const kept = new Set(inUse);
    const removedImages: string[] = [];
    const isInUse = ({ record }: { readonly record: ImageRecord }) => inUse.has(record.object);
    for (const image of [...images.filter(isInUse), ...images.filter((each) => !isInUse(each))]) {
      const blobs = blobsOf(image.record);
      if (!isInUse(image) && sizeOf(kept.union(blobs)) > this.#maxBytes) {
        await rm(image.path, { force: true });
        removedImages.push(image.record.reference);
      } else for (const digest of blobs) kept.add(digest);
    }
    let removedBlobs = 0;
    for (const [digest, { changedAtMs }] of sizes) {
      const wasDropped = images.some(
        ({ record }) => removedImages.includes(record.reference) && blobsOf(record).has(digest),
      );
      if (kept.has(digest) || (!wasDropped && nowMs - changedAtMs < this.#graceMs)) continue;
      await rm(this.#blobPath(digest), { force: true });
      sizes.delete(digest);
      removedBlobs++;
    }
    return { removedBlobs, removedImages, bytes: sizeOf(new Set(sizes.keys())) };
  }

  async #readImages(): Promise<{ record: ImageRecord; path: string; usedAtMs: number }[]> {
    const found = [];
    for (const name of await readdir(this.#images).catch(() => [])) {
      if (!name.endsWith(".json")) continue;
      const path = join(this.#images, name);
      const bytes = await readIfThere(path);
      const facts = await stat(path).catch(() => undefined);
      const record = bytes === undefined ? undefined : parseRecord(bytes.toString());
      if (record !== undefined && facts !== undefined) found.push({ record, path, usedAtMs: facts.mtimeMs });
    }
    return found;
  }

  #blobPath(digest: Digest): string {
    return join(this.#blobs, hexOf(digest));
  }

  #imagePath(reference: string, platform: string): string {
    return join(this.#images, `${hexOf(digestOf(Buffer.from(`${reference}\n${platform}`)))}.json`);
  }

  async #writeFile(directory: string, path: string, bytes: Uint8Array): Promise<void> {
    const temporary = join(directory, `.${randomUUID()}`);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => undefined);
      const errno = (cause as NodeJS.ErrnoException).code ?? String(cause);
      const [code, hint] = writeFailures[errno] ?? (["invalid", "give another directory"] as const);
      throw new ImageError(`write ${path}: ${errno}; ${hint}`, { code, retry: "backoff", cause });
    }
  }
}

const writeFailures: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  EACCES: ["no-permission", "give a directory that may be written"],
  EPERM: ["no-permission", "give a directory that may be written"],
  EROFS: ["no-permission", "give a directory that may be written"],
  ENOSPC: ["full", "make room there, or give another directory"],
  EDQUOT: ["full", "make room there, or give another directory"],
};

function blobsOf(record: ImageRecord): ReadonlySet<Digest> {
  const { root, manifest, config, layer, object, evidence } = record;
  return new Set([root, manifest, config, layer, object, ...evidence.map(({ digest }) => digest)]);
}

function parseRecord(text: string): ImageRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value)) return undefined;
  const hasDigests = ["root", "manifest", "config", "layer", "object"].every((key) => isDigest(value[key]));
  const hasNames = typeof value["reference"] === "string" && typeof value["platform"] === "string";
  const evidence = value["evidence"];
  const hasEvidence =
    Array.isArray(evidence) &&
    evidence.every(
      (each: unknown) =>
        isRecord(each) &&
        isDigest(each["digest"]) &&
        isDigest(each["over"]) &&
        (each["format"] === "bundle" || each["format"] === "simplesigning") &&
        isRecord(each["annotations"]) &&
        Object.values(each["annotations"]).every((text) => typeof text === "string"),
    );
  return hasDigests && hasNames && hasEvidence ? (value as unknown as ImageRecord) : undefined;
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code;
    if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
    throw new ImageError(`read ${path}: ${errno ?? String(cause)}`, { code: "no-permission", retry: "backoff", cause });
  }
}
