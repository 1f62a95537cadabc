import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { digestOf, hexOf } from "../digest.ts";
import type { Digest } from "../digest.ts";
import { openBytecode } from "../open-bytecode.ts";
import { ContentStore } from "./content-store.ts";
import type { ImageRecord, StoreOptions } from "./content-store.ts";

class StoreBench implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "store-"));
  readonly store: ContentStore;

  constructor(options?: StoreOptions) {
    this.store = new ContentStore(join(this.directory, "oci"), options);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }

  blobPath(digest: Digest): string {
    return join(this.directory, "oci/blobs/sha256", hexOf(digest));
  }

  /** An image of five blobs of this many bytes each. */
  async write(name: string, size = 100): Promise<ImageRecord> {
    const [root, config, layer, object, signature] = await Promise.all(
      ["root", "config", "layer", "object", "signature"].map((part) =>
        this.store.writeBlob(Buffer.alloc(size, `${name}${part}`)),
      ),
    );
    assert.ok(root && config && layer && object && signature);
    const evidence = [{ format: "bundle", digest: signature, over: root, annotations: {} }] as const;
    const record = { reference: name, root, manifest: root, config, layer, object, platform: "linux/amd64", evidence };
    await this.store.recordImage(record);
    return record;
  }
}

const never = new Set<Digest>();

test("ContentStore gives back what was written, to another process too", async () => {
  using bench = new StoreBench();
  const record = await bench.write("a");
  const other = new ContentStore(bench.store.directory);
  assert.deepEqual(await other.findImage("a", "linux/amd64"), record);
  assert.equal(await other.findImage("a", "linux/arm64"), undefined);
  assert.equal(digestOf(await openBytecode(other, record.object)), record.object);
});

test("ContentStore takes a damaged blob for absent and removes it", async () => {
  using bench = new StoreBench();
  const digest = await bench.store.writeBlob(Buffer.from("object"));
  writeFileSync(bench.blobPath(digest), "objecT");
  await assert.rejects(openBytecode(bench.store, digest), {
    code: "image-not-found",
    message: /it is not in .*, or was damaged there; pull it again/,
  });
  assert.deepEqual(readdirSync(join(bench.store.directory, "blobs/sha256")), []);
});

test("ContentStore writes a damaged blob anew", async () => {
  using bench = new StoreBench();
  const digest = await bench.store.writeBlob(Buffer.from("object"));
  writeFileSync(bench.blobPath(digest), "objecT");
  await bench.store.writeBlob(Buffer.from("object"));
  assert.equal(Buffer.from((await bench.store.findBlob(digest)) ?? []).toString(), "object");
});

test("ContentStore takes a damaged or foreign record for absent", async () => {
  using bench = new StoreBench();
  await bench.write("a");
  const images = join(bench.store.directory, "images");
  const [file = ""] = readdirSync(images);
  for (const text of ["", "{}", "null", '{"reference":"a","platform":"linux/amd64","root":"../../etc/passwd"}']) {
    writeFileSync(join(images, file), text);
    assert.equal(await bench.store.findImage("a", "linux/amd64"), undefined);
    assert.deepEqual(await bench.store.listImages(), []);
  }
});

test("ContentStore collects what no image names, and only when it is old enough", async () => {
  using bench = new StoreBench({ graceMs: 60_000 });
  const kept = await bench.write("kept");
  const orphan = await bench.store.writeBlob(Buffer.from("orphan"));
  const loaded = await bench.store.writeBlob(Buffer.from("loaded"));
  const now = Date.now();
  assert.equal((await bench.store.collect(new Set([loaded]), now)).removedBlobs, 0);
  assert.equal((await bench.store.collect(new Set([loaded]), now + 120_000)).removedBlobs, 1);
  assert.equal(await bench.store.findBlob(orphan), undefined);
  assert.ok(await bench.store.findBlob(loaded));
  for (const digest of [kept.root, kept.config, kept.layer, kept.object, kept.evidence[0]?.digest])
    assert.ok(digest && (await bench.store.findBlob(digest)));
});

test("ContentStore drops the images that were not used for longest when it is above its bound, never one in use", async () => {
  using bench = new StoreBench({ maxBytes: 1200 });
  const images = join(bench.store.directory, "images");
  const age = (file: string, seconds: number) => utimesSync(join(images, file), seconds, seconds);
  const loaded = await bench.write("loaded");
  readdirSync(images).forEach((file) => age(file, 1000));
  await bench.write("old");
  readdirSync(images).forEach((file, at) => age(file, 1000 + at));
  await bench.write("new");
  await bench.store.findImage("loaded", "linux/arm64");
  const { removedImages, bytes } = await bench.store.collect(new Set([loaded.object]), Date.now());
  assert.deepEqual(removedImages, ["old"]);
  assert.equal(bytes, 1000);
  assert.deepEqual(
    (await bench.store.listImages()).map(({ reference }) => reference),
    ["new", "loaded"],
  );
});

test("ContentStore forgets a name", async () => {
  using bench = new StoreBench({ graceMs: 0 });
  await bench.write("a");
  assert.equal(await bench.store.forgetImage("a", "linux/amd64"), true);
  assert.equal(await bench.store.forgetImage("a", "linux/amd64"), false);
  assert.equal((await bench.store.collect(never, Date.now() + 1000)).bytes, 0);
});

test("ContentStore says what keeps it from writing", async () => {
  using bench = new StoreBench();
  writeFileSync(bench.store.directory, "a file is in its place");
  await assert.rejects(bench.store.writeBlob(Buffer.from("x")), {
    name: "ImageError",
    message: /^write .*: (EEXIST|ENOTDIR); /,
  });
  assert.deepEqual((await bench.store.collect(never, 0)).removedImages, []);
});

test("ContentStore takes the same and other blobs from many writers at once", async () => {
  using bench = new StoreBench();
  const stores = Array.from({ length: 8 }, () => new ContentStore(bench.store.directory));
  const texts = Array.from({ length: 80 }, (_, at) => `blob ${at % 10}`);
  const digests = await Promise.all(texts.map((text, at) => stores[at % 8]!.writeBlob(Buffer.from(text))));
  assert.equal(new Set(digests).size, 10);
  assert.equal(readdirSync(join(bench.store.directory, "blobs/sha256")).length, 10);
});
