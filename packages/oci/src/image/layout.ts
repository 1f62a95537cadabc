import { readFile } from "node:fs/promises";
import { ImageError } from "@bpfleet/base";
import { checkDigest, hexOf } from "../digest.ts";
import type { Digest } from "../digest.ts";
import type { BuiltImage } from "./build-image.ts";
import { choosePlatform, isIndex, malformed, mediaTypes, parseJson, parseManifest } from "./manifest.ts";
import type { Descriptor } from "./manifest.ts";
import { layerOf } from "./read-bytecode.ts";
import { readTar, writeTar } from "./tar.ts";

const layoutVersion = '{"imageLayoutVersion":"1.0.0"}';

/** An image as one file: a tar archive of an OCI image layout, which skopeo, crane and podman read too. */
export function renderLayout(image: BuiltImage, name?: string): Uint8Array {
  const annotations = name === undefined ? {} : { annotations: { "org.opencontainers.image.ref.name": name } };
  const index = JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [{ mediaType: mediaTypes.manifest, digest: image.digest, size: image.manifest.length, ...annotations }],
  });
  const { config, layers } = manifestOf(image.manifest, "the image");
  const blobs = new Map<Digest, Uint8Array>([
    [image.digest, image.manifest],
    [config.digest, image.config],
    ...layers.map(({ digest }) => [digest, image.layer] as const),
  ]);
  return writeTar([
    { name: "oci-layout", bytes: Buffer.from(layoutVersion) },
    { name: "index.json", bytes: Buffer.from(index) },
    ...[...blobs]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([digest, bytes]) => ({ name: `blobs/sha256/${hexOf(digest)}`, bytes })),
  ]);
}

/** An image out of such a file, every part checked against its digest. */
export async function readLayout(path: string, platform: string): Promise<BuiltImage> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new ImageError(`read image ${path}: ${errno}; give what \`ebpfctl image build\` wrote`, {
      code: errno === "ENOENT" ? "not-found" : "no-permission",
      retry: "when-changed",
      cause,
    });
  }
  return parseLayout(bytes, path, platform);
}

export function parseLayout(bytes: Uint8Array, path: string, platform: string): BuiltImage {
  const files = new Map<string, Uint8Array>();
  try {
    for (const { name, kind, bytes: content } of readTar(bytes))
      if (kind === "file") files.set(name.replace(/^(\.\/)+/, ""), content);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    return malformed(`read image ${path}: ${cause.message}; give what \`ebpfctl image build\` wrote`);
  }
  const blob = ({ digest }: Pick<Descriptor, "digest">, what: string): Uint8Array => {
    const found =
      files.get(`blobs/sha256/${hexOf(digest)}`) ?? malformed(`read image ${path}: its ${what} ${digest} is not in it`);
    checkDigest(found, digest, `${what} of ${path}`);
    return found;
  };
  const indexBytes = files.get("index.json");
  if (indexBytes === undefined || parseJson(indexBytes) === undefined)
    return malformed(`read image ${path}: it has no index.json; give what \`ebpfctl image build\` wrote`);
  let listed = parseManifest(indexBytes, `index.json of ${path}`);
  for (let depth = 0; depth < 3 && isIndex(listed); depth++) {
    const chosen = choosePlatform(listed, platform, path);
    const manifest = blob(chosen, "manifest");
    const parsed = parseManifest(manifest, `manifest of ${path}`);
    if (!isIndex(parsed)) {
      const config = blob(parsed.config, "configuration");
      return { digest: chosen.digest, manifest, config, layer: blob(layerOf(parsed, path), "layer") };
    }
    listed = parsed;
  }
  return malformed(`read image ${path}: its indexes are nested too deeply`);
}

function manifestOf(bytes: Uint8Array, what: string) {
  const manifest = parseManifest(bytes, what);
  return isIndex(manifest) ? malformed(`read ${what}: it is an index`) : manifest;
}
