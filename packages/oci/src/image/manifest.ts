import { ImageError, isRecord } from "@bpfleet/base";
import { isDigest } from "../digest.ts";
import type { Digest } from "../digest.ts";

/** Names bytes: their type, digest and size. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
  readonly artifactType?: string;
  readonly platform?: Platform;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export interface Index {
  readonly manifests: readonly Descriptor[];
}

export const mediaTypes = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerLayer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
  empty: "application/vnd.oci.empty.v1+json",
} as const;

/** What a registry is told that we understand. */
export const manifestTypes: string = [
  mediaTypes.manifest,
  mediaTypes.index,
  mediaTypes.dockerManifest,
  mediaTypes.dockerList,
].join(", ");

/** `what` names the manifest in messages. */
export function parseManifest(bytes: Uint8Array, what: string): Manifest | Index {
  const refuse = (why: string): never => malformed(`read ${what}: ${why}`);
  const value = parseJson(bytes) ?? refuse("it is not a JSON object");
  if (value["schemaVersion"] !== 2)
    refuse(`its schemaVersion is ${JSON.stringify(value["schemaVersion"])}, not 2; push it anew with a current tool`);
  const list = (key: string): readonly Descriptor[] => {
    const items = value[key];
    if (!Array.isArray(items)) return refuse(`its ${key} are no list`);
    return items.map(
      (item: unknown, at) =>
        readDescriptor(item) ?? refuse(`${key}[${at}] is no descriptor with mediaType, digest (sha256) and size`),
    );
  };
  if (value["manifests"] !== undefined) return { manifests: list("manifests") };
  const config = readDescriptor(value["config"]) ?? refuse("it has neither manifests nor a config");
  return { config, layers: list("layers") };
}

export function isIndex(value: Manifest | Index): value is Index {
  return "manifests" in value;
}

/**
 * The manifest of an index for a platform, `linux/amd64`. Bytecode runs on every machine of its byte order,
 * so that an index with a single image serves all.
 */
export function choosePlatform(index: Index, platform: string, what: string): Descriptor {
  const images = index.manifests.filter(
    ({ platform: of, annotations }) =>
      of?.architecture !== "unknown" && annotations["vnd.docker.reference.type"] === undefined,
  );
  const [os, architecture, variant] = platform.split("/");
  const fitting = images.filter(({ platform: of }) => of?.os === os && of?.architecture === architecture);
  const found =
    fitting.find(({ platform: of }) => of?.variant === variant) ??
    fitting[0] ??
    (images.length === 1 ? images[0] : undefined);
  if (found !== undefined) return found;
  const there = images.map(({ platform: of }) => (of === undefined ? "no platform" : `${of.os}/${of.architecture}`));
  return malformed(
    `choose image of ${what} for ${platform}: there is ${there.length === 0 ? "none" : `only ${there.join(", ")}`}; push one for ${platform}`,
  );
}

export function parseJson(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Words of a manifest go into messages: one line of printable characters. */
const word = /^[\x20-\x7e]{1,255}$/;

function readDescriptor(value: unknown): Descriptor | undefined {
  if (!isRecord(value)) return undefined;
  const { mediaType, digest, size, annotations, artifactType, platform } = value;
  if (typeof mediaType !== "string" || !word.test(mediaType) || !isDigest(digest)) return undefined;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) return undefined;
  return {
    mediaType,
    digest,
    size,
    annotations: textsOf(annotations),
    ...(typeof artifactType === "string" ? { artifactType } : {}),
    ...readPlatform(platform),
  };
}

function readPlatform(value: unknown): { readonly platform?: Platform } {
  if (!isRecord(value)) return {};
  const { os, architecture, variant } = value;
  if (typeof os !== "string" || typeof architecture !== "string" || !word.test(os + architecture)) return {};
  return { platform: { os, architecture, ...(typeof variant === "string" && variant !== "" ? { variant } : {}) } };
}

/** The entries of an object that are text. */
export function textsOf(value: unknown): Readonly<Record<string, string>> {
  const entries = isRecord(value) ? Object.entries(value) : [];
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}

export function malformed(message: string): never {
  throw new ImageError(message, { code: "image-malformed", retry: "when-changed" });
}
