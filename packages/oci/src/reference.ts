import { ImageError } from "@bpfleet/base";
import { isDigest } from "./digest.ts";
import type { Digest } from "./digest.ts";

/** Where a name without a host points to. */
export const defaultHost = "docker.io";

/** A name of an image, in full. */
export interface Reference {
  /** `host[:port]`, lower case. */
  readonly host: string;
  /** `bpfd-bytecode/xdp_pass`. */
  readonly repository: string;
  /** There is a tag, a digest, or both; with both the digest decides. */
  readonly tag?: string;
  readonly digest?: Digest;
}

const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const repositoryForm = new RegExp(`^${component}(?:/${component})*$`);
const hostForm = /^(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?)(?::[0-9]{1,5})?$/;
const tagForm = /^\w[\w.-]{0,127}$/;

/**
 * Reads a name as docker and the kubelet do: `xdp_pass` is `docker.io/library/xdp_pass:latest`, the first
 * part is a host when it has a dot or a port or is `localhost`. The `image://` of bpfd is left off.
 */
export function parseReference(text: string): Reference {
  const refuse = (why: string): never => {
    throw new ImageError(`read image reference ${JSON.stringify(text)}: ${why}`, { code: "invalid", retry: "never" });
  };
  let rest = text.trim().replace(/^image:\/*/, "");
  if (rest === "") refuse("it is empty; write host/repository:tag");
  if (/^https?:/.test(rest)) refuse("it is a URL; leave the scheme off");
  const at = rest.indexOf("@");
  const digest = at < 0 ? undefined : rest.slice(at + 1);
  if (digest !== undefined && !isDigest(digest))
    refuse(`${digest} is no digest; write sha256: and 64 digits of 0-9a-f`);
  if (at >= 0) rest = rest.slice(0, at);
  const colon = rest.lastIndexOf(":");
  const hasTag = colon > rest.lastIndexOf("/");
  const tag = hasTag ? rest.slice(colon + 1) : undefined;
  if (hasTag) rest = rest.slice(0, colon);
  if (tag !== undefined && !tagForm.test(tag)) refuse(`${JSON.stringify(tag)} is no tag; letters, digits, . _ - only`);
  const slash = rest.indexOf("/");
  const first = slash < 0 ? "" : rest.slice(0, slash);
  const hasHost = first === "localhost" || /[.:]/.test(first) || first !== first.toLowerCase();
  const host = hasHost ? first.toLowerCase() : defaultHost;
  let repository = hasHost ? rest.slice(slash + 1) : rest;
  if (!hostForm.test(host)) refuse(`${JSON.stringify(host)} is no host`);
  if (!hasHost && !repository.includes("/")) repository = `library/${repository}`;
  if (repository !== repository.toLowerCase()) refuse("a repository is in lower case");
  if (!repositoryForm.test(repository) || repository.length > 255)
    refuse(`${JSON.stringify(repository)} is no repository; lower-case words, joined by / . _ -`);
  const named = digest as Digest | undefined;
  return {
    host: host === "index.docker.io" ? defaultHost : host,
    repository,
    ...(tag === undefined ? (named === undefined ? { tag: "latest" } : {}) : { tag }),
    ...(named === undefined ? {} : { digest: named }),
  };
}

export function renderReference({ host, repository, tag, digest }: Reference): string {
  return `${host}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** What is asked of a registry: the digest when there is one, else the tag. */
export function tagOrDigest({ tag, digest }: Reference): string {
  return digest ?? tag ?? "latest";
}
