import { gunzipSync } from "node:zlib";
import { ImageError, isRecord } from "@bpfleet/base";
import type { BytecodeLabels } from "../bytecode.ts";
import { digestOf } from "../digest.ts";
import type { Digest } from "../digest.ts";
import { readLabels } from "./labels.ts";
import { malformed, mediaTypes, parseJson } from "./manifest.ts";
import type { Descriptor, Manifest } from "./manifest.ts";
import { readTar } from "./tar.ts";
import type { TarEntry } from "./tar.ts";

/** The object out of the one layer may have this many bytes, and the layer unpacked not many more. */
const maxObjectBytes = 64 * 1024 * 1024;
const maxUnpackedBytes = maxObjectBytes + 1024 * 1024;

/** The bytes of an image, each checked against its digest. */
export interface ImageContent {
  readonly manifest: Manifest;
  readonly config: Uint8Array;
  readonly layer: Uint8Array;
}

export interface ReadBytecode {
  readonly object: Uint8Array;
  readonly objectDigest: Digest;
  readonly labels: BytecodeLabels;
}

/** The only layer of a bytecode image. `what` names the image in messages. */
export function layerOf({ layers }: Manifest, what: string): Descriptor {
  const [layer] = layers;
  if (layer === undefined || layers.length > 1)
    return malformed(
      `read ${what}: a bytecode image has exactly one layer, this has ${layers.length}; build it FROM scratch with one COPY`,
    );
  if (layer.mediaType === mediaTypes.layer || layer.mediaType === mediaTypes.dockerLayer) return layer;
  return malformed(
    `read ${what}: its layer is of type ${layer.mediaType}; it must be ${mediaTypes.layer} or ${mediaTypes.dockerLayer}`,
  );
}

/** The ELF object and the labels of an image, or exactly why it is no bytecode image. */
export function readBytecode(content: ImageContent, what: string): ReadBytecode {
  layerOf(content.manifest, what);
  const config = parseJson(content.config) ?? malformed(`read ${what}: its configuration is not a JSON object`);
  const labels = readLabels(config, what);
  const archive = unpack(content.layer, what);
  checkDiffId(archive, config, what);
  const file = chooseFile(readEntries(archive, what), labels.filename, what);
  const object = Uint8Array.from(file.bytes);
  if (object.length > maxObjectBytes)
    throw new ImageError(
      `read ${what}: ${JSON.stringify(file.name)} has ${object.length} bytes, ${maxObjectBytes} are allowed; strip it`,
      {
        code: "too-big",
        retry: "when-changed",
      },
    );
  if (object[0] !== 0x7f || Buffer.from(object.subarray(1, 4)).toString("latin1") !== "ELF")
    return malformed(`read ${what}: ${JSON.stringify(file.name)} is no ELF object; put in what clang -target bpf made`);
  return { object, objectDigest: digestOf(object), labels };
}

function unpack(layer: Uint8Array, what: string): Uint8Array {
  try {
    return gunzipSync(layer, { maxOutputLength: maxUnpackedBytes });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ERR_BUFFER_TOO_LARGE")
      throw new ImageError(
        `read ${what}: its layer unpacks to more than ${maxUnpackedBytes} bytes; a bytecode image holds one object and nothing else`,
        {
          code: "too-big",
          retry: "when-changed",
          cause,
        },
      );
    return malformed(`read ${what}: its layer is not gzip (${code ?? String(cause)}); build it again`);
  }
}

/** The configuration says what the layer unpacks to; those of old builders say nothing. */
function checkDiffId(archive: Uint8Array, { rootfs }: Readonly<Record<string, unknown>>, what: string): void {
  const said = isRecord(rootfs) ? rootfs["diff_ids"] : undefined;
  if (said === undefined) return;
  const found = digestOf(archive);
  if (Array.isArray(said) && said.length === 1 && said[0] === found) return;
  throw new ImageError(
    `check the layer of ${what}: it unpacks to ${found}, and its configuration says ${JSON.stringify(said)}; build it again`,
    { code: "digest-mismatch", retry: "when-changed" },
  );
}

function readEntries(archive: Uint8Array, what: string): readonly TarEntry[] {
  try {
    return readTar(archive);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    return malformed(`read ${what}: its layer is no tar archive (${cause.message}); build it again`);
  }
}

/** The file that the label names, or the only one; nothing in the layer may point out of it or elsewhere. */
function chooseFile(entries: readonly TarEntry[], filename: string | undefined, what: string): TarEntry {
  const files = new Map<string, TarEntry>();
  for (const entry of entries) {
    const name = entry.name.replace(/^(\.\/)+/, "");
    if (name.startsWith("/") || name.split("/").includes("..") || /[\0\\]/.test(name))
      return malformed(`read ${what}: its layer has a path out of it, ${JSON.stringify(entry.name)}`);
    if (entry.kind === "directory") continue;
    if (entry.kind !== "file")
      return malformed(
        `read ${what}: its layer has something else than a file (${entry.kind}), ${JSON.stringify(entry.name)}; only files may be in it`,
      );
    if (files.has(name)) return malformed(`read ${what}: its layer has ${JSON.stringify(name)} twice`);
    files.set(name, entry);
  }
  const atRoot = [...files].filter(([name]) => !name.includes("/"));
  const there = atRoot.length === 0 ? "no file" : atRoot.map(([name]) => JSON.stringify(name)).join(", ");
  if (filename !== undefined) {
    const wanted = filename.replace(/^(\.?\/)+/, "");
    const file = wanted.includes("/") ? undefined : files.get(wanted);
    return (
      file ??
      malformed(
        `read ${what}: its label io.ebpf.filename names ${JSON.stringify(filename)}, and at the root of its layer is ${there}`,
      )
    );
  }
  const objects = atRoot.length === 1 ? atRoot : atRoot.filter(([name]) => name.endsWith(".o"));
  const [only] = objects;
  if (only !== undefined && objects.length === 1) return only[1];
  return malformed(
    `read ${what}: it has no label io.ebpf.filename, and at the root of its layer is ${there}; put one .o there, or label which`,
  );
}
