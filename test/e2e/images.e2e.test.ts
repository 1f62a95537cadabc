import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { buildAppImages } from "../../tools/images/app-images.ts";
import type { Layer } from "../../tools/images/image.ts";

const largestMegabytes = 45;

function list(layer: Layer): string[] {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-layer-"));
  try {
    const path = join(folder, "layer.tar");
    writeFileSync(path, zstdDecompressSync(layer.bytes));
    return execFileSync("tar", ["-tvf", path], { encoding: "utf8" }).trim().split("\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const built = buildAppImages();

test("the images have the same digests when they are built again", async () => {
  const digests = async (images: typeof built) => Array.from(await images, ([app, { digest }]) => `${app} ${digest}`);
  const first = await digests(built);
  assert.deepEqual(await digests(buildAppImages()), first);
});

test("the images share their layers, and hold no shell, nothing that makes root, and the licences of all", async () => {
  const images = [...(await built).values()];
  const [first] = images;
  assert.ok(first !== undefined && images.length === 3);
  assert.ok(images.every(({ layers }) => layers.every(({ digest }, at) => digest === first.layers[at]?.digest)));
  const bytes = first.layers.reduce((sum, layer) => sum + layer.bytes.length, 0);
  assert.ok(bytes < largestMegabytes * 1e6, `${bytes} bytes`);
  const lines = first.layers.flatMap(list);
  assert.ok(lines.every((line) => !/^-\S*[sS]/.test(line)));
  assert.ok(!lines.some((line) => /\/(sh|bash|busybox)$/.test(line)));
  for (const name of ["node", "libc6", "libstdc++6", "libgcc-s1", "libelf1", "zlib1g", "ca-certificates", "bpfleet"])
    assert.ok(
      lines.some((line) => line.endsWith(` usr/share/doc/${name}/copyright`)),
      name,
    );
});
