import { inspect } from "node:util";
import { isRecord, ok, refused } from "@bpfleet/base";
import type { Issue, Result } from "@bpfleet/base";
import { defaultHost } from "../reference.ts";

/** What is shown to one host, and to no other. Printing one never prints its secret. */
export class Credential {
  readonly username: string;
  readonly #secret: string;
  /** The secret is an identity token: it is changed for an access token, never shown as a password. */
  readonly isIdentityToken: boolean;

  constructor(username: string, secret: string, options: { readonly isIdentityToken?: boolean } = {}) {
    this.username = username;
    this.#secret = secret;
    this.isIdentityToken = options.isIdentityToken === true;
  }

  /** For the header of a request to the host of this credential. */
  reveal(): string {
    return this.#secret;
  }

  toJSON(): string {
    return `<credential of ${this.username}>`;
  }

  [inspect.custom](): string {
    return this.toJSON();
  }
}

/** `host[:port][/path]` → credential; the longest that an image's name starts with is used. */
export type Credentials = ReadonlyMap<string, Credential>;

export const noCredentials: Credentials = new Map();

/** The credential for a repository of a host, as the kubelet chooses it: longest path first, then the host. */
export function findCredential(credentials: Credentials, host: string, repository: string): Credential | undefined {
  const parts = repository.split("/");
  for (let length = parts.length; length >= 0; length--) {
    const credential = credentials.get([host, ...parts.slice(0, length)].join("/"));
    if (credential !== undefined) return credential;
  }
  return undefined;
}

/** Later ones win over earlier ones for the same place. */
export function mergeCredentials(all: readonly Credentials[]): Credentials {
  return new Map(all.flatMap((credentials) => [...credentials]));
}

/** Text of a `.dockerconfigjson` (`{"auths": {…}}`) or of the older `.dockercfg` (the same without `auths`). */
export function parseDockerConfig(text: string): Result<Credentials> {
  const issues: Issue[] = [];
  const add = (path: string, code: string, message: string) => issues.push({ path, code, message, severity: "error" });
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which holds passwords.
    add("", "syntax", "read pull secret: it is not JSON; make it with `kubectl create secret docker-registry`");
    return refused(issues);
  }
  if (!isRecord(config)) {
    add("", "type", "read pull secret: it must be a JSON object with a field auths");
    return refused(issues);
  }
  const auths = config["auths"] ?? config;
  const credentials = new Map<string, Credential>();
  for (const [place, entry] of Object.entries(isRecord(auths) ? auths : {})) {
    const path = `/auths/${place.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    // Tools that keep passwords elsewhere leave an empty entry.
    if (isRecord(entry) && Object.keys(entry).length === 0) continue;
    const credential = isRecord(entry) ? readEntry(entry) : undefined;
    if (credential === undefined)
      add(path, "invalid", `read pull secret: the entry of ${place} has no auth, no username with password, no token`);
    else credentials.set(normalizePlace(place), credential);
  }
  return issues.length > 0 ? refused(issues) : ok(credentials);
}

/** `data` of a Secret of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg, values in base64. */
export function credentialsOfSecret(data: Readonly<Record<string, string>>): Result<Credentials> {
  const encoded = data[".dockerconfigjson"] ?? data[".dockercfg"];
  if (encoded === undefined) {
    const message = "read pull secret: no key .dockerconfigjson; make it with `kubectl create secret docker-registry`";
    return refused([{ path: "/data", code: "required", message, severity: "error" }]);
  }
  return parseDockerConfig(Buffer.from(encoded, "base64").toString());
}

function readEntry(entry: Readonly<Record<string, unknown>>): Credential | undefined {
  const text = (key: string) => {
    const value = entry[key];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const token = text("identitytoken");
  if (token !== undefined) return new Credential(text("username") ?? "<token>", token, { isIdentityToken: true });
  const auth = text("auth");
  if (auth !== undefined) {
    const [, username, password] = /^([^:]*):([^]*)$/.exec(Buffer.from(auth, "base64").toString()) ?? [];
    return username === undefined || password === undefined
      ? undefined
      : new Credential(username, password.replace(/\0+$/, ""));
  }
  const [username, password] = [text("username"), text("password")];
  return username === undefined || password === undefined ? undefined : new Credential(username, password);
}

/** `https://index.docker.io/v1/` and `quay.io/` are written for `docker.io` and `quay.io`. */
function normalizePlace(place: string): string {
  const bare = place
    .replace(/^https?:\/\//, "")
    .replace(/\/v[12]\/?$/, "")
    .replace(/\/+$/, "");
  return /^(index\.docker\.io|registry-1\.docker\.io)$/.test(bare) ? defaultHost : bare;
}
