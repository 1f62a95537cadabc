import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { buildAppImages, nameImages } from "../../tools/images/app-images.ts";
import type { Layer } from "../../tools/images/image.ts";
import { root } from "./fleet.ts";
import { buildImagesElsewhere } from "./other-place.ts";

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

test("the images have the same digests at another path, by another user, and of files of another time", async () => {
  const names = nameImages(await built, {});
  const expected = Array.from(names, ([name, { digest }]) => `${name} ${digest}`);
  const said = buildImagesElsewhere().trim().split("\n");
  assert.deepEqual(
    said.map((line) => line.split("\t").slice(0, 2).join(" ")),
    expected,
  );
});

test("the images say what of the machine that built them is in them", async () => {
  for (const { config } of (await built).values()) {
    const { Labels: labels } = JSON.parse(Buffer.from(config.bytes).toString()).config;
    for (const name of ["libc6", "libstdc++6", "libgcc-s1", "libelf1", "zlib1g", "ca-certificates"]) {
      const version = execFileSync("dpkg-query", ["--show", "--showformat=${Version}", name], { encoding: "utf8" });
      assert.ok(labels["io.bpfleet.made-of"].includes(`, ${name} ${version}`), labels["io.bpfleet.made-of"]);
    }
    assert.match(labels["io.bpfleet.made-of"], /^node 24\.\d+\.\d+, /);
    assert.match(labels["io.bpfleet.made-with"], /^gcc [\d.]+, strip [\d.]+, clang [\d.]+$/);
    assert.match(labels["io.bpfleet.trusts"], /^sha256:[0-9a-f]{64}$/);
  }
});

test("what is ours in the images names no place of the machine that built it", async () => {
  const [first] = (await built).values();
  const own = first?.layers[1];
  assert.ok(own !== undefined);
  const bytes = zstdDecompressSync(own.bytes);
  for (const place of [root, homedir(), process.env["CARGO_HOME"] ?? join(homedir(), ".cargo")])
    assert.equal(bytes.includes(`${place}/`), false, place);
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
