import { readFile } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { ImageError, isRecord } from "@bpfleet/base";
import { parse } from "smol-toml";
import { defaultHost } from "../reference.ts";

export type Capability = "pull" | "resolve" | "push";

/** One place that may serve the images of a host. */
export interface Endpoint {
  /** Up to and with `/v2`, without a slash at the end. */
  readonly url: string;
  readonly capabilities: readonly Capability[];
  /** Paths of PEM files with authorities, beside those that Node trusts. */
  readonly ca: readonly string[];
  /** Paths of PEM files; one file may hold certificate and key. */
  readonly client: readonly { readonly cert: string; readonly key: string }[];
  readonly skipsVerification: boolean;
  readonly headers: Readonly<Record<string, string>>;
}

const allCapabilities: readonly Capability[] = ["pull", "resolve", "push"];

/**
 * The places for the images of a host, in the order to try them: the mirrors of `<directory>/<host>/hosts.toml`
 * (or of `_default`), then the host itself.
 */
export async function loadEndpoints(directory: string | undefined, host: string): Promise<readonly Endpoint[]> {
  if (directory === undefined) return [serverOf(host)];
  for (const name of [host, host.replace(/:(\d+)$/, "_$1_"), "_default"]) {
    const path = join(directory, name, "hosts.toml");
    const text = await readIfThere(path);
    if (text !== undefined) return parseHosts(text, path, host);
  }
  return [serverOf(host)];
}

/** `path` names the file in messages; relative paths in it are from its directory. */
export function parseHosts(text: string, path: string, host: string): readonly Endpoint[] {
  let file: Readonly<Record<string, unknown>>;
  try {
    file = parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    throw new ImageError(`read ${path}: ${why}; see docs/guides/images.md for its form`, {
      code: "invalid",
      retry: "when-changed",
      cause,
    });
  }
  const reader = new HostsReader(path);
  const hosts = file["host"] ?? {};
  if (!isRecord(hosts)) return reader.refuse("host", 'must be tables: [host."https://mirror.example"]');
  const mirrors = Object.entries(hosts).map(([url, table]) =>
    isRecord(table)
      ? reader.endpoint(`host.${JSON.stringify(url)}`, url, table)
      : reader.refuse(`host.${JSON.stringify(url)}`, "must be a table"),
  );
  const { server = serverOf(host).url.replace(/\/v2$/, "") } = file;
  if (typeof server !== "string") return reader.refuse("server", "must be a URL");
  return [...mirrors, reader.endpoint("server", server, file)];
}

class HostsReader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  endpoint(place: string, address: string, table: Readonly<Record<string, unknown>>): Endpoint {
    const url = URL.parse(address.includes("://") ? address : `https://${address}`);
    if (url === null || (url.protocol !== "https:" && url.protocol !== "http:"))
      return this.refuse(place, `${JSON.stringify(address)} is no http or https URL`);
    if (url.username !== "" || url.password !== "")
      return this.refuse(place, "must hold no user and no password; give a pull secret for this host");
    const path = url.pathname.replace(/\/+$/, "");
    const overrides = this.#boolean(table, "override_path");
    return {
      url: `${url.origin}${overrides || path.endsWith("/v2") ? path : `${path}/v2`}`,
      capabilities: this.#capabilities(table),
      ca: this.#paths(table, "ca"),
      client: this.#client(table),
      skipsVerification: this.#boolean(table, "skip_verify"),
      headers: this.#headers(table),
    };
  }

  refuse(place: string, why: string): never {
    throw new ImageError(`read ${this.#path}: ${place}: ${why}`, { code: "invalid", retry: "when-changed" });
  }

  #capabilities(table: Readonly<Record<string, unknown>>): readonly Capability[] {
    const { capabilities = allCapabilities } = table;
    if (!Array.isArray(capabilities)) return this.refuse("capabilities", "must be a list of pull, resolve, push");
    for (const each of capabilities as readonly unknown[])
      if (!allCapabilities.includes(each as Capability))
        this.refuse("capabilities", `${JSON.stringify(each)} is none of pull, resolve, push`);
    return capabilities as readonly Capability[];
  }

  #boolean(table: Readonly<Record<string, unknown>>, key: string): boolean {
    const value = table[key] ?? false;
    return typeof value === "boolean" ? value : this.refuse(key, "must be true or false");
  }

  #paths(table: Readonly<Record<string, unknown>>, key: string): readonly string[] {
    const value = table[key] ?? [];
    return (Array.isArray(value) ? value : [value]).map((each: unknown) => this.#file(key, each));
  }

  /** A path, a list of paths, or a list of pairs [certificate, key]. */
  #client(table: Readonly<Record<string, unknown>>): Endpoint["client"] {
    const value = table["client"] ?? [];
    return (Array.isArray(value) ? value : [value]).map((each: unknown) => {
      const [cert, key] = Array.isArray(each) ? (each as readonly unknown[]) : [each, each];
      return { cert: this.#file("client", cert), key: this.#file("client", key ?? cert) };
    });
  }

  #headers(table: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
    const { header = {} } = table;
    if (!isRecord(header)) return this.refuse("header", "must be a table");
    return Object.fromEntries(
      Object.entries(header).map(([name, value]) => {
        const text = Array.isArray(value) ? value.join(", ") : value;
        return [name, typeof text === "string" ? text : this.refuse(`header.${name}`, "must be text")];
      }),
    );
  }

  #file(key: string, value: unknown): string {
    if (typeof value !== "string" || value === "") return this.refuse(key, "must be the path of a PEM file");
    return isAbsolute(value) ? value : resolve(this.#path, "..", value);
  }
}

function serverOf(host: string): Endpoint {
  return {
    url: `https://${host === defaultHost ? "registry-1.docker.io" : host}/v2`,
    capabilities: allCapabilities,
    ca: [],
    client: [],
    skipsVerification: false,
    headers: {},
  };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new ImageError(`read ${path}: ${code ?? String(cause)}`, { code: "no-permission", retry: "backoff", cause });
  }
}
