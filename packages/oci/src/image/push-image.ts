import type { Digest } from "../digest.ts";
import type { RegistryClient } from "../registry/registry-client.ts";
import type { BuiltImage } from "./build-image.ts";
import { mediaTypes } from "./manifest.ts";

/** Puts an image under a tag: what it consists of first, so that the tag never points to half an image. */
export async function pushImage(client: RegistryClient, image: BuiltImage, tag: string): Promise<Digest> {
  await client.pushBlob(image.layer, "layer");
  await client.pushBlob(image.config, "configuration");
  return client.pushManifest(image.manifest, mediaTypes.manifest, tag);
}
