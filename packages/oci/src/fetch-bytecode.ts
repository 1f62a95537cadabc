import { ImageError } from "@bpfleet/base";
import type { Bytecode, SignatureOutcome } from "./bytecode.ts";
import type { Digest } from "./digest.ts";
import type { FetchRequest } from "./fetch-request.ts";
import { choosePlatform, isIndex, malformed, parseManifest } from "./image/manifest.ts";
import type { Manifest } from "./image/manifest.ts";
import { layerOf, readBytecode } from "./image/read-bytecode.ts";
import { parseReference, renderReference, tagOrDigest } from "./reference.ts";
import type { Reference } from "./reference.ts";
import { RegistryClient, sizeCaps } from "./registry/registry-client.ts";
import { decideSignature } from "./signature/decide-signature.ts";
import { fetchEvidence } from "./signature/evidence.ts";
import type { Evidence } from "./signature/evidence.ts";
import { findRule } from "./signature/policy.ts";
import type { SignatureRule } from "./signature/policy.ts";
import type { ContentStore, ImageRecord, StoredEvidence } from "./store/content-store.ts";

const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le" };

/** `linux/amd64` on x86-64, by the words of the OCI. */
export const ownPlatform: string = `linux/${architectures[process.arch] ?? process.arch}`;

/**
 * An object out of an image, by its name: pulled as the policy says, checked byte by byte, and its signature
 * verified over what was pulled. Throws an ImageError that says what was asked, of whom, what it said, what helps.
 * Nothing that the signature policy refuses is ever returned; what is in the store is verified again each time.
 */
export async function fetchBytecode(request: FetchRequest): Promise<Bytecode> {
  const { pullPolicy = "IfNotPresent", platform = ownPlatform, store } = request;
  const reference = parseReference(request.reference);
  const rule = findRule(request.policy, reference);
  const name = renderReference(reference);
  const stored = pullPolicy === "Always" ? undefined : await readStored(store, name, platform);
  if (stored !== undefined) {
    const signature = decideSignature(rule, digestsOf(stored.record), stored.evidence);
    if (isAccepted(signature, rule) || pullPolicy === "Never")
      return accept(name, stored.record, stored.read, signature, rule, "store");
    // Somebody may have signed it since.
  } else if (pullPolicy === "Never") {
    throw new ImageError(
      `find ${name}: it is not in ${store.directory} and the pull policy is Never; pull it first, or use IfNotPresent`,
      {
        code: "image-not-found",
        retry: "when-changed",
      },
    );
  }
  return pull(request, reference, platform, rule);
}

async function pull(
  request: FetchRequest,
  reference: Reference,
  platform: string,
  rule: Omit<SignatureRule, "images">,
): Promise<Bytecode> {
  const { store } = request;
  const name = renderReference(reference);
  await using client = await RegistryClient.open(reference, "pull", request);
  const root = await client.fetchManifest(tagOrDigest(reference));
  let chosen = root;
  let manifest = parseManifest(root.bytes, name);
  if (isIndex(manifest)) {
    chosen = await client.fetchManifest(choosePlatform(manifest, platform, name).digest);
    manifest = parseManifest(chosen.bytes, name);
    if (isIndex(manifest)) return malformed(`read ${name}: its index lists another index; push one that lists images`);
  }
  const descriptor = layerOf(manifest, name);
  // What an image is made of may be at hand from an earlier pull, under the same digests.
  const config =
    (await store.findBlob(manifest.config.digest)) ??
    (await client.fetchBlob(manifest.config, sizeCaps.config, "configuration"));
  const layer =
    (await store.findBlob(descriptor.digest)) ?? (await client.fetchBlob(descriptor, sizeCaps.layer, "layer"));
  const digests = [...new Set([chosen.digest, root.digest])];
  let evidence: readonly Evidence[] = [];
  let unread: ImageError | undefined;
  if (rule.mode !== "off") {
    try {
      evidence = await fetchEvidence(client, digests);
    } catch (error) {
      if (!(error instanceof ImageError) || rule.mode === "required") throw error;
      unread = error;
    }
  }
  const read = readBytecode({ manifest, config, layer }, name);
  const decided = decideSignature(rule, digests, evidence);
  const signature: SignatureOutcome =
    unread === undefined || decided.state === "verified" ? decided : { state: "unsigned", reason: unread.message };
  const record: ImageRecord = {
    reference: name,
    platform,
    root: root.digest,
    manifest: chosen.digest,
    config: manifest.config.digest,
    layer: descriptor.digest,
    object: read.objectDigest,
    evidence: [],
  };
  const accepted = accept(name, record, read, signature, rule, "registry");
  for (const bytes of [root.bytes, chosen.bytes, config, layer, read.object]) await store.writeBlob(bytes);
  await store.recordImage({ ...record, evidence: await keepEvidence(store, evidence) });
  return accepted;
}

async function keepEvidence(store: ContentStore, evidence: readonly Evidence[]): Promise<readonly StoredEvidence[]> {
  const kept: StoredEvidence[] = [];
  for (const { format, bytes, over, annotations } of evidence)
    kept.push({ format, over, annotations, digest: await store.writeBlob(bytes) });
  return kept;
}

interface Stored {
  readonly record: ImageRecord;
  readonly read: ReturnType<typeof readBytecode>;
  readonly evidence: readonly Evidence[];
}

/** All of an image out of the store, read anew from its bytes; `undefined` when a part is missing or damaged. */
async function readStored(store: ContentStore, name: string, platform: string): Promise<Stored | undefined> {
  const record = await store.findImage(name, platform);
  if (record === undefined) return undefined;
  const { digest } = parseReference(name);
  if (digest !== undefined && digest !== record.root) return undefined;
  const [root, chosen, config, layer, object] = await Promise.all(
    [record.root, record.manifest, record.config, record.layer, record.object].map((digest) => store.findBlob(digest)),
  );
  if (root === undefined || chosen === undefined || config === undefined || layer === undefined || object === undefined)
    return undefined;
  if (!leadsTo(record, root, chosen, name)) return undefined;
  const manifest = parseManifest(chosen, name) as Manifest;
  const read = readBytecode({ manifest, config, layer }, name);
  if (read.objectDigest !== record.object) return undefined;
  const evidence: Evidence[] = [];
  for (const { digest, format, over, annotations } of record.evidence) {
    const bytes = await store.findBlob(digest);
    if (bytes !== undefined) evidence.push({ format, over, annotations, bytes });
  }
  return { record, read, evidence };
}

/** The record is only a note: from root to layer each step must follow from the bytes themselves. */
function leadsTo(record: ImageRecord, root: Uint8Array, chosen: Uint8Array, name: string): boolean {
  const first = parseManifest(root, name);
  const lists = isIndex(first)
    ? first.manifests.some(({ digest }) => digest === record.manifest)
    : record.root === record.manifest;
  const manifest = parseManifest(chosen, name);
  if (!lists || isIndex(manifest)) return false;
  return manifest.config.digest === record.config && layerOf(manifest, name).digest === record.layer;
}

function digestsOf({ manifest, root }: ImageRecord): readonly Digest[] {
  return [...new Set([manifest, root])];
}

function isAccepted(signature: SignatureOutcome, { mode }: Pick<SignatureRule, "mode">): boolean {
  return mode !== "required" || signature.state === "verified";
}

function accept(
  name: string,
  record: ImageRecord,
  { object, objectDigest, labels }: ReturnType<typeof readBytecode>,
  signature: SignatureOutcome,
  rule: Omit<SignatureRule, "images">,
  from: Bytecode["from"],
): Bytecode {
  const reason = signature.state === "verified" ? "" : signature.reason;
  const complaint = `verify ${name} (${record.manifest}): ${signature.state}: ${reason}`;
  if (!isAccepted(signature, rule)) {
    throw new ImageError(`${complaint}; sign it with a key or identity that the image policy of this node accepts`, {
      code: "signature-refused",
      retry: "backoff",
      ...(signature.state === "refused" ? { detail: signature.attempts.join("\n") } : {}),
    });
  }
  const isWarned = rule.mode === "warn" && signature.state !== "verified";
  return {
    reference: name,
    digest: record.manifest,
    objectDigest,
    bytes: object,
    labels,
    signature,
    warnings: isWarned ? [complaint] : [],
    from,
  };
}
