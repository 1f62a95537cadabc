import { hexOf } from "../digest.ts";
import type { Digest } from "../digest.ts";
import { isIndex, parseManifest } from "../image/manifest.ts";
import type { Descriptor, Manifest } from "../image/manifest.ts";
import { sizeCaps } from "../registry/registry-client.ts";
import type { RegistryClient } from "../registry/registry-client.ts";

/** Something that claims to sign a digest; nobody has looked whether it does. */
export interface Evidence {
  readonly format: "bundle" | "simplesigning";
  /** The bundle's JSON, or the payload of simplesigning. */
  readonly bytes: Uint8Array;
  /** The image's digest that it was found under. */
  readonly over: Digest;
  /** Annotations of its layer: signature, certificate, log entry of simplesigning. */
  readonly annotations: Readonly<Record<string, string>>;
}

export const bundleTypePrefix = "application/vnd.dev.sigstore.bundle";
export const simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json";
export const signPredicate = "https://sigstore.dev/cosign/sign/v1";

/** Whoever may push can attach anything: this many artifacts and signatures of an image are looked at. */
const maxArtifacts = 64;

/**
 * What signs these digests: bundles that refer to them, and the `.sig` tags of older cosign. Lists of
 * referrers name types in several ways, so that the layer's own type decides what is a bundle.
 */
export async function fetchEvidence(client: RegistryClient, digests: readonly Digest[]): Promise<readonly Evidence[]> {
  const found: Evidence[] = [];
  for (const over of digests) {
    const referrers = (await client.listReferrers(over)).filter(mayBeSignature).slice(0, maxArtifacts);
    for (const { digest } of referrers) {
      const { bytes } = await client.fetchManifest(digest);
      await take(client, parseManifest(bytes, `signature ${digest}`), over, found);
    }
    const legacy = await client.findManifest(`sha256-${hexOf(over)}.sig`);
    if (legacy !== undefined)
      await take(client, parseManifest(legacy.bytes, `signature ${legacy.digest}`), over, found);
  }
  return found;
}

async function take(
  client: RegistryClient,
  manifest: ReturnType<typeof parseManifest>,
  over: Digest,
  found: Evidence[],
): Promise<void> {
  for (const layer of isIndex(manifest) ? [] : (manifest satisfies Manifest).layers) {
    const format = formatOf(layer);
    if (format === undefined || layer.size > sizeCaps.signature || found.length >= maxArtifacts) continue;
    const bytes = await client.fetchBlob(layer, sizeCaps.signature, "signature");
    found.push({ format, bytes, over, annotations: layer.annotations });
  }
}

function formatOf({ mediaType }: Descriptor): Evidence["format"] | undefined {
  if (mediaType.startsWith(bundleTypePrefix)) return "bundle";
  return mediaType === simpleSigningType ? "simplesigning" : undefined;
}

/** Attestations are bundles too; those that say what they attest are left out when it is not a signature. */
function mayBeSignature({ annotations, artifactType }: Descriptor): boolean {
  const predicate = annotations["dev.sigstore.bundle.predicateType"];
  if (predicate !== undefined) return predicate === signPredicate;
  return (
    artifactType === undefined ||
    artifactType.startsWith(bundleTypePrefix) ||
    artifactType.startsWith("application/vnd.oci.") ||
    artifactType.startsWith("application/vnd.dev.cosign.")
  );
}
