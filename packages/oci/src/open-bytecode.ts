import { ImageError } from "@bpfleet/base";
import type { Digest } from "./digest.ts";
import type { ContentStore } from "./store/content-store.ts";

/** The object of a `Bytecode`, out of the store and verified again. */
export async function openBytecode(store: ContentStore, objectDigest: Digest): Promise<Uint8Array> {
  const bytes = await store.findBlob(objectDigest);
  if (bytes !== undefined) return bytes;
  throw new ImageError(
    `open object ${objectDigest}: it is not in ${store.directory}, or was damaged there; pull it again`,
    {
      code: "image-not-found",
      retry: "when-changed",
    },
  );
}
