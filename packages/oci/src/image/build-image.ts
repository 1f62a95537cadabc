import { crc32 } from "node:zlib";
import { digestOf } from "../digest.ts";
import type { Digest } from "../digest.ts";
import { renderLabels } from "./labels.ts";
import type { LabelFacts } from "./labels.ts";
import { mediaTypes } from "./manifest.ts";
import { writeTar } from "./tar.ts";

/** The parts of an image, ready to be pushed or written. */
export interface BuiltImage {
  readonly digest: Digest;
  readonly manifest: Uint8Array;
  readonly config: Uint8Array;
  readonly layer: Uint8Array;
}

export interface ImageFacts {
  readonly object: Uint8Array;
  /** `filename` is the object's name in the layer. */
  readonly labels: LabelFacts & { readonly filename: string };
  /** Further labels, as written. */
  readonly further?: Readonly<Record<string, string>>;
  /** `amd64` and the like: what bytecode of either byte order is listed as. */
  readonly architecture?: string;
}

/** The same object and labels give the same bytes, on every machine and at every time. */
export function buildImage({ object, labels, further = {}, architecture = "amd64" }: ImageFacts): BuiltImage {
  const archive = writeTar([{ name: labels.filename, bytes: object }]);
  const layer = storeGzip(archive);
  const config = toJson({
    architecture,
    os: "linux",
    config: { Labels: { ...renderLabels(labels), ...further } },
    rootfs: { type: "layers", diff_ids: [digestOf(archive)] },
  });
  const manifest = toJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.length },
    layers: [{ mediaType: mediaTypes.layer, digest: digestOf(layer), size: layer.length }],
  });
  return { digest: digestOf(manifest), manifest, config, layer };
}

function toJson(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** Gzip without compression: what compresses differs between machines and versions, and objects are small. */
function storeGzip(bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)];
  const maxBlock = 0xffff;
  for (let at = 0; at < bytes.length; at += maxBlock) {
    const block = bytes.subarray(at, at + maxBlock);
    const header = Buffer.alloc(5);
    header.writeUInt8(at + maxBlock >= bytes.length ? 1 : 0, 0);
    header.writeUInt16LE(block.length, 1);
    header.writeUInt16LE(~block.length & 0xffff, 3);
    parts.push(header, block);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(bytes), 0);
  trailer.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([...parts, trailer]);
}
