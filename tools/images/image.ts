import { constants, zstdCompressSync } from "node:zlib";
import { digestOf, hexOf, mediaTypes } from "@bpfleet/oci";
import type { Digest } from "@bpfleet/oci";
import { renderLayer } from "./layer.ts";
import type { LayerEntry } from "./layer.ts";

export interface Layer extends Blob {
  /** Of the archive inside. */
  readonly contentDigest: Digest;
}

interface Blob {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** How a container of the image starts, in the words of the image specification. */
export interface ProcessConfig {
  readonly Entrypoint: readonly string[];
  readonly Cmd?: readonly string[];
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly WorkingDir?: string;
  readonly Labels?: Readonly<Record<string, string>>;
}

export interface Image {
  readonly digest: Digest;
  readonly manifest: Uint8Array;
  readonly config: Blob;
  readonly layers: readonly Layer[];
}

/**
 * zstd, not gzip: for one version of its library it gives the same bytes on every processor, and half the
 * size of gzip's. containerd takes it from 1.5 on, CRI-O from 1.20, Docker from 23.
 */
const layerType = "application/vnd.oci.image.layer.v1.tar+zstd";
const compressionLevel = 6;

export function buildLayer(entries: readonly LayerEntry[]): Layer {
  const archive = renderLayer(entries);
  const bytes = zstdCompressSync(archive, { params: { [constants.ZSTD_c_compressionLevel]: compressionLevel } });
  return { mediaType: layerType, digest: digestOf(bytes), bytes, contentDigest: digestOf(archive) };
}

export function composeImage(layers: readonly Layer[], config: ProcessConfig, architecture: string): Image {
  const configBytes = toJson({
    architecture,
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.contentDigest) },
  });
  const configBlob = { mediaType: mediaTypes.config, digest: digestOf(configBytes), bytes: configBytes };
  const manifest = toJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describe(configBlob),
    layers: layers.map(describe),
  });
  return { digest: digestOf(manifest), manifest, config: configBlob, layers };
}

/**
 * Images under their names as one file: a tar archive of an OCI image layout. `ctr images import`,
 * `kind load image-archive`, `podman load` and skopeo take it.
 */
export function renderArchive(images: ReadonlyMap<string, Image>): Uint8Array {
  const index = toJson({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [...images].map(([name, image]) => ({
      mediaType: mediaTypes.manifest,
      digest: image.digest,
      size: image.manifest.length,
      annotations: { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name },
    })),
  });
  const blobs = new Map<Digest, Uint8Array>();
  for (const image of images.values()) {
    blobs.set(image.digest, image.manifest).set(image.config.digest, image.config.bytes);
    for (const layer of image.layers) blobs.set(layer.digest, layer.bytes);
  }
  const file = (path: string, bytes: Uint8Array): LayerEntry => ({ kind: "file", path, mode: 0o644, bytes });
  return renderLayer([
    file("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}')),
    file("index.json", index),
    ...[...blobs].map(([digest, bytes]) => file(`blobs/sha256/${hexOf(digest)}`, bytes)),
  ]);
}

function describe({ mediaType, digest, bytes }: Blob) {
  return { mediaType, digest, size: bytes.length };
}

function toJson(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
