import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { digestOf } from "../digest.ts";
import { readFixture, signedImage } from "../testing/fixtures.ts";
import { buildImage } from "./build-image.ts";
import { readLabels, renderBuildArgs, renderLabels } from "./labels.ts";
import { parseLayout, renderLayout } from "./layout.ts";
import { choosePlatform, isIndex, mediaTypes, parseManifest } from "./manifest.ts";
import type { Index, Manifest } from "./manifest.ts";
import { readBytecode } from "./read-bytecode.ts";
import { readTar, writeTar } from "./tar.ts";

const elf = Buffer.concat([Buffer.from("\x7fELF"), Buffer.alloc(60, 1)]);

/** An image whose layer is this archive, its configuration with these labels. */
function imageOf(archive: Uint8Array, labels: object = {}, layerType: string = mediaTypes.layer, layers = 1) {
  const layer = gzipSync(archive);
  const descriptor = { mediaType: layerType, digest: digestOf(layer), size: layer.length, annotations: {} };
  const config = { mediaType: mediaTypes.config, digest: digestOf(layer), size: 1, annotations: {} };
  const manifest: Manifest = { config, layers: Array.from({ length: layers }, () => descriptor) };
  return { manifest, config: Buffer.from(JSON.stringify({ config: { Labels: labels } })), layer };
}

function read(archive: Uint8Array, labels?: object) {
  return readBytecode(imageOf(archive, labels), "the image");
}

/** A tar header that writeTar would not write. */
function entry(name: string, type: string, content: Uint8Array = new Uint8Array()): Uint8Array {
  const tar = Buffer.from(writeTar([{ name, bytes: content }]).subarray(0, -1024));
  tar.write(type, 156);
  tar.write("        ", 148);
  const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return tar;
}

const end = new Uint8Array(1024);

test("readBytecode takes the object that the label names, and the labels", () => {
  const archive = writeTar([
    { name: "readme", bytes: Buffer.from("x") },
    { name: "pass.o", bytes: elf },
    { name: "other.o", bytes: Buffer.from("y") },
  ]);
  const { object, objectDigest, labels } = read(archive, {
    "io.ebpf.program_type": "xdp",
    "io.ebpf.filename": "pass.o",
    "io.ebpf.program_name": "pass",
    "io.ebpf.section_name": "pass",
    "io.ebpf.bpf_function_name": "pass_func",
    "io.ebpf.programs": '{"pass":"xdp"}',
    "io.ebpf.maps": '{"stats":"hash"}',
    maintainer: "somebody",
  });
  assert.deepEqual(Buffer.from(object), elf);
  assert.equal(objectDigest, digestOf(elf));
  const { all, ...named } = labels;
  assert.equal(all["maintainer"], "somebody");
  assert.deepEqual(named, {
    programType: "xdp",
    filename: "pass.o",
    programName: "pass",
    sectionName: "pass",
    functionName: "pass_func",
    programs: { pass: "xdp" },
    maps: { stats: "hash" },
  });
});

test("readBytecode takes the only object when no label names it, of docker's layer type too", () => {
  const archive = writeTar([{ name: "./pass.bpf.o", bytes: elf }]);
  assert.equal(readBytecode(imageOf(archive, {}, mediaTypes.dockerLayer), "x").objectDigest, digestOf(elf));
});

test("readBytecode says exactly what is wrong with an image", () => {
  const one = { name: "a.o", bytes: elf };
  const cases: [() => unknown, RegExp, string][] = [
    [
      () => readBytecode(imageOf(writeTar([one]), {}, mediaTypes.layer, 2), "x"),
      /exactly one layer, this has 2/,
      "image-malformed",
    ],
    [
      () => readBytecode(imageOf(writeTar([one]), {}, mediaTypes.layer, 0), "x"),
      /exactly one layer, this has 0/,
      "image-malformed",
    ],
    [
      () => readBytecode(imageOf(writeTar([one]), {}, "application/zip"), "x"),
      /its layer is of type application\/zip/,
      "image-malformed",
    ],
    [() => read(writeTar([{ name: "../a.o", bytes: elf }])), /a path out of it, "\.\.\/a\.o"/, "image-malformed"],
    [() => read(writeTar([{ name: "/etc/a.o", bytes: elf }])), /a path out of it, "\/etc\/a\.o"/, "image-malformed"],
    [
      () => read(Buffer.concat([entry("a.o", "2"), end])),
      /something else than a file \(symlink\), "a\.o"; only files/,
      "image-malformed",
    ],
    [() => read(Buffer.concat([entry("a.o", "1"), end])), /\(hardlink\)/, "image-malformed"],
    [() => read(Buffer.concat([entry("null", "3"), end])), /\(other\)/, "image-malformed"],
    [() => read(writeTar([one, one])), /"a\.o" twice/, "image-malformed"],
    [
      () => read(writeTar([one, { name: "b.o", bytes: elf }])),
      /no label io\.ebpf\.filename.*"a\.o", "b\.o"/,
      "image-malformed",
    ],
    [() => read(writeTar([{ name: "sub/a.o", bytes: elf }])), /at the root of its layer is no file/, "image-malformed"],
    [
      () => read(writeTar([one]), { "io.ebpf.filename": "b.o" }),
      /names "b\.o", and at the root of its layer is "a\.o"/,
      "image-malformed",
    ],
    [
      () => read(writeTar([{ name: "a.o", bytes: Buffer.from("#!/bin/sh") }])),
      /"a\.o" is no ELF object/,
      "image-malformed",
    ],
    [() => read(Buffer.alloc(512, 7)), /no tar archive \(no tar header at byte 0/, "image-malformed"],
    [() => read(writeTar([one]).subarray(0, 520)), /the archive ends within/, "image-malformed"],
    [
      () => read(writeTar([one]), { "io.ebpf.programs": "{" }),
      /label io\.ebpf\.programs is not JSON/,
      "image-malformed",
    ],
    [
      () => read(writeTar([one]), { "io.ebpf.maps": '{"a":1}' }),
      /io\.ebpf\.maps must be an object of names and types/,
      "image-malformed",
    ],
    [
      () => readBytecode({ ...imageOf(writeTar([one])), layer: Buffer.from("x") }, "x"),
      /its layer is not gzip/,
      "image-malformed",
    ],
    [
      () => readBytecode({ ...imageOf(writeTar([one])), config: Buffer.from("[]") }, "x"),
      /configuration is not a JSON object/,
      "image-malformed",
    ],
  ];
  for (const [run, message, code] of cases) assert.throws(run, { name: "ImageError", code, message });
});

test("readBytecode compares the unpacked layer with what the configuration says of it", () => {
  const archive = writeTar([{ name: "a.o", bytes: elf }]);
  const withIds = (ids: unknown) => ({
    ...imageOf(archive),
    config: Buffer.from(JSON.stringify({ config: {}, rootfs: { type: "layers", diff_ids: ids } })),
  });
  const right = digestOf(archive);
  assert.equal(readBytecode(withIds([right]), "x").objectDigest, digestOf(elf));
  for (const ids of [[digestOf(elf)], [], [right, right], right, [right.toUpperCase()]])
    assert.throws(() => readBytecode(withIds(ids), "x"), {
      code: "digest-mismatch",
      retry: "when-changed",
      message:
        /^check the layer of x: it unpacks to sha256:[0-9a-f]{64}, and its configuration says .*; build it again$/,
    });
});

test("readBytecode stops unpacking a gzip bomb", () => {
  const image = {
    ...imageOf(writeTar([{ name: "a.o", bytes: elf }])),
    layer: gzipSync(Buffer.alloc(80 * 1024 * 1024)),
  };
  assert.ok(image.layer.length < 100_000);
  assert.throws(() => readBytecode(image, "x"), { code: "too-big", message: /unpacks to more than \d+ bytes/ });
});

test("readTar reads what writeTar wrote, and what GNU tar and pax write of long names", () => {
  const file = fc.record({ name: fc.stringMatching(/^[a-z/]{1,90}$/), bytes: fc.uint8Array({ maxLength: 2000 }) });
  fc.assert(
    fc.property(fc.array(file, { minLength: 1, maxLength: 5 }), (files) => {
      const back = readTar(writeTar(files)).map(({ name, bytes }) => ({ name, bytes: [...bytes] }));
      assert.deepEqual(
        back,
        files.map(({ name, bytes }) => ({ name, bytes: [...bytes] })),
      );
    }),
    { numRuns: 50 },
  );
  const name = `${"long/".repeat(40)}a.o`;
  const pax = `path=${name}\n`;
  const record = `${pax.length + 4} ${pax}`;
  for (const [type, text] of [
    ["L", `${name}\0`],
    ["x", record],
  ] as const) {
    const archive = Buffer.concat([entry("@long", type, Buffer.from(text)), entry("short", "0", elf), end]);
    assert.deepEqual(
      readTar(archive).map((each) => each.name),
      [name],
    );
  }
});

test("readTar throws nothing but RangeError whatever it is given", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2048 }), fc.nat(1500), fc.nat(255), (noise, at, byte) => {
      const damaged = Buffer.from(writeTar([{ name: "a.o", bytes: elf }]));
      damaged[at] = byte;
      for (const bytes of [noise, damaged]) {
        try {
          readTar(bytes);
        } catch (error) {
          assert.ok(error instanceof RangeError);
        }
      }
    }),
  );
});

test("buildImage gives the same bytes for the same object and labels, and the fixture is one of them", () => {
  const fixture = signedImage();
  const manifest = parseManifest(fixture.manifest, "fixture") as Manifest;
  const { object, labels } = readBytecode({ ...fixture, manifest }, "fixture");
  const { all: _, ...facts } = labels;
  const again = buildImage({ object, labels: { ...facts, filename: labels.filename ?? "" } });
  assert.equal(again.digest, fixture.digest);
  assert.deepEqual(gunzipSync(again.layer), Buffer.from(writeTar([{ name: "pass.bpf.o", bytes: object }])));
});

test("buildImage packs an object larger than one block of gzip", () => {
  const object = Buffer.concat([elf, Buffer.alloc(300_000, 9)]);
  const image = buildImage({ object, labels: { filename: "big.o" } });
  const read = readBytecode({ ...image, manifest: parseManifest(image.manifest, "x") as Manifest }, "x");
  assert.equal(read.objectDigest, digestOf(object));
});

test("parseLayout reads back what renderLayout writes, and refuses a changed byte anywhere in a blob", () => {
  const layout = renderLayout(signedImage(), "quay.io/bpfd-bytecode/xdp_pass:latest");
  assert.deepEqual(Buffer.from(layout), readFixture("xdp_pass.oci.tar"));
  const blobs = readTar(layout).filter(({ name }) => name.startsWith("blobs/"));
  assert.equal(blobs.length, 3);
  for (const { bytes } of blobs) {
    const changed = Buffer.from(layout);
    const at = changed.indexOf(bytes);
    changed[at + bytes.length - 1] = (changed[at + bytes.length - 1] ?? 0) ^ 1;
    assert.throws(() => parseLayout(changed, "x.tar", "linux/amd64"), { code: "digest-mismatch" });
  }
  assert.throws(() => parseLayout(writeTar([{ name: "a", bytes: elf }]), "x.tar", "linux/amd64"), {
    message: /read image x\.tar: it has no index\.json/,
  });
});

test("renderLabels writes what readLabels reads, and renderBuildArgs what Containerfiles take", () => {
  const facts = {
    programType: "xdp",
    filename: "pass.o",
    programName: "pass",
    sectionName: "pass",
    kernelVersion: "5.19",
    programs: { b: "tc", a: "xdp" },
    maps: {},
  };
  const { all: _, ...back } = readLabels({ config: { Labels: renderLabels(facts) } }, "x");
  assert.deepEqual(back, facts);
  assert.deepEqual(renderBuildArgs(facts), [
    "PROGRAM_NAME=pass",
    "SECTION_NAME=pass",
    "PROGRAM_TYPE=xdp",
    "BYTECODE_FILENAME=pass.o",
    "KERNEL_COMPILE_VER=5.19",
    "BYTECODE_FILE=pass.o",
    'PROGRAMS={"a":"xdp","b":"tc"}',
    "MAPS={}",
  ]);
});

test("parseManifest tells images from indexes and says what is wrong", () => {
  const parse = (value: unknown) =>
    parseManifest(Buffer.from(typeof value === "string" ? value : JSON.stringify(value)), "m");
  assert.equal(isIndex(parse({ schemaVersion: 2, manifests: [] })), true);
  assert.throws(() => parse("<html>"), /read m: it is not a JSON object/);
  assert.throws(() => parse({ schemaVersion: 1 }), /schemaVersion is 1, not 2/);
  const descriptor = { mediaType: "a\u001b[2J", digest: digestOf(elf), size: 1 };
  assert.throws(() => parse({ schemaVersion: 2, manifests: [descriptor] }), /manifests\[0\] is no descriptor/);
  assert.throws(() => parse({ schemaVersion: 2 }), /neither manifests nor a config/);
  assert.throws(
    () => parse({ schemaVersion: 2, manifests: [{ digest: "sha256:../../x" }] }),
    /manifests\[0\] is no descriptor/,
  );
});

test("choosePlatform takes the platform's image, else the only one, and leaves attestations out", () => {
  const digest = digestOf(elf);
  const of = (platform: string | undefined, annotations: Readonly<Record<string, string>> = {}) => {
    const [os = "", architecture = "", variant] = platform?.split("/") ?? [];
    const about =
      platform === undefined ? {} : { platform: { os, architecture, ...(variant === undefined ? {} : { variant }) } };
    return { mediaType: mediaTypes.manifest, digest, size: 1, annotations, ...about };
  };
  const choose = (index: Index, platform: string) => choosePlatform(index, platform, "x").platform;
  const attestation = of("unknown/unknown", { "vnd.docker.reference.type": "attestation-manifest" });
  const both = { manifests: [of("linux/arm64/v8"), of("linux/amd64"), attestation] };
  assert.deepEqual(choose(both, "linux/amd64"), { os: "linux", architecture: "amd64" });
  assert.deepEqual(choose(both, "linux/arm64"), { os: "linux", architecture: "arm64", variant: "v8" });
  assert.deepEqual(choose({ manifests: [of("linux/amd64"), attestation] }, "linux/arm64"), {
    os: "linux",
    architecture: "amd64",
  });
  assert.throws(
    () => choose(both, "linux/s390x"),
    /for linux\/s390x: there is only linux\/arm64, linux\/amd64; push one/,
  );
  assert.throws(() => choose({ manifests: [] }, "linux/amd64"), /there is none/);
});
