import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Option } from "@commander-js/extra-typings";
import type { Result } from "@bpfleet/base";
import type { Credentials, ImagePolicy, Proxies, SignatureOutcome } from "@bpfleet/oci";
import { Failure } from "../failure.ts";
import type { World } from "../world.ts";

export const authFlag = new Option(
  "--authfile <file>",
  "pull secret: a .dockerconfigjson (env: REGISTRY_AUTH_FILE, usually ~/.docker/config.json)",
);
export const mirrorsFlag = new Option(
  "--mirrors <directory>",
  "of <host>/hosts.toml files (env: BPFLEET_REGISTRIES, usually /etc/bpfleet/registries)",
);
export const policyFlag = new Option(
  "--policy <file>",
  "which signatures are asked for (env: BPFLEET_IMAGE_POLICY, usually /etc/bpfleet/image-policy.yaml)",
);
export const platformFlag = new Option(
  "--platform <os/architecture>",
  "which image of an index; usually this machine's",
);
export const outputFlag = new Option("-o, --output <form>", "json|yaml").choices(["json", "yaml"] as const);

export interface AccessFlags {
  readonly authfile?: string | undefined;
  readonly mirrors?: string | undefined;
}

export interface Access {
  readonly auth: Credentials;
  readonly mirrors: string;
  readonly proxies: Proxies | undefined;
}

/** How registries are reached: flags before environment before the usual places. */
export async function readAccess(flags: AccessFlags, world: World): Promise<Access> {
  const { noCredentials, parseDockerConfig, readProxies, usualImagePlaces } = await import("@bpfleet/oci");
  const { env, cwd } = world;
  const mirrors = resolve(cwd, (flags.mirrors ?? env["BPFLEET_REGISTRIES"]) || usualImagePlaces.mirrors);
  const proxies = readProxies(env);
  const named = (flags.authfile ?? env["REGISTRY_AUTH_FILE"]) || undefined;
  const home = env["DOCKER_CONFIG"] ?? (env["HOME"] === undefined ? undefined : join(env["HOME"], ".docker"));
  const path = named ?? (home === undefined ? undefined : join(home, "config.json"));
  if (path === undefined) return { auth: noCredentials, mirrors, proxies };
  let text: string;
  try {
    text = await readFile(resolve(cwd, path), "utf8");
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code ?? String(cause);
    if (named === undefined) return { auth: noCredentials, mirrors, proxies };
    throw new Failure(`read pull secret ${path}: ${errno}`, { cause });
  }
  return { auth: valueOf(parseDockerConfig(text), path), mirrors, proxies };
}

export async function readPolicy(flag: string | undefined, world: World): Promise<ImagePolicy> {
  const { loadImagePolicy, loadNodePolicy, usualImagePlaces } = await import("@bpfleet/oci");
  const named = (flag ?? world.env["BPFLEET_IMAGE_POLICY"]) || undefined;
  if (named === undefined) return valueOf(await loadNodePolicy(usualImagePlaces.policy), usualImagePlaces.policy);
  const path = resolve(world.cwd, named);
  return valueOf(await loadImagePolicy(path), path);
}

/** The value, or all that is wrong with the file it was read from. */
export function valueOf<T>(result: Result<T>, path: string): T {
  if (result.ok) return result.value;
  const lines = result.issues.map(({ message, position }) =>
    position === undefined ? message : `${position.file}:${position.line}:${position.column}: ${message}`,
  );
  throw new Failure(
    lines.length === 1 ? (lines[0] ?? path) : `${path} has ${lines.length} mistakes\n${lines.join("\n")}`,
  );
}

/** Who signed, in one line. */
export function renderSignature(signature: SignatureOutcome): string {
  if (signature.state !== "verified") return `${signature.state}: ${signature.reason}`;
  const { by, format } = signature;
  const who = by.kind === "key" ? `key ${by.name} (sha256:${by.fingerprint})` : `${by.subject} (issuer ${by.issuer})`;
  return `verified: ${who}, ${format}`;
}
