import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import {
  mediaTypes,
  noCredentials,
  parseDockerConfig,
  parseReference,
  RegistryClient,
  usualImagePlaces,
} from "@bpfleet/oci";
import type { Credentials } from "@bpfleet/oci";
import type { Image } from "./image.ts";

/** Puts images into their registries and returns their names by digest; what they consist of first, so that no tag points to half an image. */
export async function pushImages(
  named: readonly (readonly [string, Image])[],
  env: NodeJS.ProcessEnv,
): Promise<readonly string[]> {
  for (const [name] of named) refuseUnpushable(name);
  const auth = await readCredentials(env);
  const mirrors = env["BPFLEET_REGISTRIES"] || usualImagePlaces.mirrors;
  const pushed: string[] = [];
  for (const [name, { config, layers, manifest }] of named) {
    const reference = parseReference(name);
    await using client = await RegistryClient.open(reference, "push", { auth, mirrors });
    for (const layer of layers) await client.pushBlob(layer.bytes, "layer");
    await client.pushBlob(config.bytes, "configuration");
    const digest = await client.pushManifest(manifest, mediaTypes.manifest, reference.tag ?? "latest");
    pushed.push(`${reference.host}/${reference.repository}@${digest}`);
  }
  return pushed;
}

function refuseUnpushable(name: string): void {
  if (name.startsWith("docker.io/library/"))
    throw new Error(
      `push ${name}: only Docker's own images are there; name yours with BPFD_IMG, BPFD_AGENT_IMG and BPFD_OPERATOR_IMG`,
    );
  if (name.includes("@")) throw new Error(`push ${name}: a digest cannot be chosen; give a tag, host/repository:tag`);
}

/** What `docker login` and `podman login` write. */
async function readCredentials(env: NodeJS.ProcessEnv): Promise<Credentials> {
  const { REGISTRY_AUTH_FILE: named, DOCKER_CONFIG: folder } = env;
  const path = named || join(folder || join(homedir(), ".docker"), "config.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (named) throw new Error(`read pull secret ${path}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
    return noCredentials;
  }
  const parsed = parseDockerConfig(text);
  if (parsed.ok) return parsed.value;
  throw new Error(`read pull secret ${path}: ${parsed.issues.map(({ message }) => message).join("; ")}`);
}
