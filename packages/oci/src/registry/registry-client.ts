import { ImageError } from "@bpfleet/base";
import { checkDigest, digestOf, hexOf, isDigest } from "../digest.ts";
import type { Digest } from "../digest.ts";
import { isIndex, manifestTypes, mediaTypes, parseManifest } from "../image/manifest.ts";
import type { Descriptor } from "../image/manifest.ts";
import type { Reference } from "../reference.ts";
import type { FetchProgress } from "../fetch-request.ts";
import { Connection } from "./connection.ts";
import type { Answer, Call, Patience } from "./connection.ts";
import { noCredentials } from "./credentials.ts";
import type { Credentials } from "./credentials.ts";
import type { Proxies } from "./proxies.ts";
import { loadEndpoints } from "./hosts.ts";
import type { Capability, Endpoint } from "./hosts.ts";

export interface RegistryOptions {
  readonly auth?: Credentials | undefined;
  /** Directory of `<host>/hosts.toml` files. */
  readonly mirrors?: string | undefined;
  /** By which proxies registries are reached; straight when left out. */
  readonly proxies?: Proxies | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly backoffMs?: number | undefined;
  readonly patience?: Partial<Patience> | undefined;
  readonly onProgress?: ((progress: FetchProgress) => void) | undefined;
}

export const sizeCaps = {
  manifest: 4 * 1024 * 1024,
  config: 1024 * 1024,
  layer: 32 * 1024 * 1024,
  signature: 1024 * 1024,
} as const;

/** One repository, wherever it is served: every byte that it returns has the digest that was asked for. */
export class RegistryClient implements AsyncDisposable {
  readonly #name: string;
  readonly #repository: string;
  readonly #connections: readonly Connection[];

  private constructor(reference: Reference, connections: readonly Connection[]) {
    this.#name = `${reference.host}/${reference.repository}`;
    this.#repository = reference.repository;
    this.#connections = connections;
  }

  static async open(
    reference: Reference,
    purpose: "pull" | "push",
    { auth = noCredentials, mirrors, proxies, signal, backoffMs, patience, onProgress }: RegistryOptions,
  ): Promise<RegistryClient> {
    const endpoints = await loadEndpoints(mirrors, reference.host);
    const fitting = endpoints.filter(({ capabilities }) =>
      purpose === "push" ? capabilities.includes("push") : capabilities.some((each) => each !== "push"),
    );
    if (fitting.length === 0)
      throw new ImageError(`${purpose} ${reference.host}/${reference.repository}: hosts.toml lets no host ${purpose}`, {
        code: "invalid",
        retry: "when-changed",
      });
    const connections = await Promise.all(
      (purpose === "push" ? fitting.slice(0, 1) : fitting).map((endpoint: Endpoint) =>
        Connection.open(endpoint, {
          credentials: auth,
          repository: reference.repository,
          actions: purpose === "push" ? "pull,push" : "pull",
          signal,
          proxies,
          patience,
          onProgress,
          ...(backoffMs === undefined ? {} : { backoffMs }),
        }),
      ),
    );
    return new RegistryClient(reference, connections);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection[Symbol.asyncDispose]()));
  }

  /** The manifest or index of a tag or digest. */
  async fetchManifest(tagOrDigest: string): Promise<{ readonly digest: Digest; readonly bytes: Uint8Array }> {
    const call: Call = {
      method: "GET",
      path: `${this.#repository}/manifests/${tagOrDigest}`,
      headers: { accept: manifestTypes },
      maxBytes: sizeCaps.manifest,
      what: `pull manifest ${tagOrDigest} of ${this.#name}`,
    };
    return this.#try(isDigest(tagOrDigest) ? "pull" : "resolve", call, ({ headers, body }) => {
      const said = headers["docker-content-digest"];
      const expected = isDigest(tagOrDigest) ? tagOrDigest : isDigest(said) ? said : digestOf(body);
      checkDigest(body, expected, `manifest ${tagOrDigest} of ${this.#name}`);
      return { digest: expected, bytes: body };
    });
  }

  /** The manifest of a tag, when there is such a tag. */
  async findManifest(tag: string): Promise<{ readonly digest: Digest; readonly bytes: Uint8Array } | undefined> {
    try {
      return await this.fetchManifest(tag);
    } catch (error) {
      if (error instanceof ImageError && error.code === "image-not-found") return undefined;
      throw error;
    }
  }

  /** `what` says which part of the image it is. */
  async fetchBlob({ digest, size }: Descriptor, maxBytes: number, what: string): Promise<Uint8Array> {
    const name = `${what} ${digest} of ${this.#name}`;
    if (size > maxBytes)
      throw new ImageError(
        `pull ${name}: it has ${size} bytes, ${maxBytes} are allowed; a bytecode image holds one object and nothing else`,
        {
          code: "too-big",
          retry: "when-changed",
        },
      );
    const call: Call = {
      method: "GET",
      path: `${this.#repository}/blobs/${digest}`,
      maxBytes: Math.max(size, 4096),
      what: `pull ${name}`,
    };
    return this.#try("pull", call, ({ body }) => {
      checkDigest(body, digest, name);
      return body;
    });
  }

  /** What is attached to a digest: by the referrers API, and by the tag that stands in for it. */
  async listReferrers(digest: Digest): Promise<readonly Descriptor[]> {
    const what = `list what refers to ${digest} of ${this.#name}`;
    const path = `${this.#repository}/referrers/${digest}`;
    const headers = { accept: mediaTypes.index };
    const accepts = [400, 404, 405, 501];
    const call: Call = { method: "GET", path, headers, accepts, maxBytes: sizeCaps.manifest, what };
    const listed = await this.#try("pull", call, ({ status, body }) => (status === 200 ? readIndex(body, what) : []));
    const tagged = await this.findManifest(`sha256-${hexOf(digest)}`);
    const all = [...listed, ...(tagged === undefined ? [] : readIndex(tagged.bytes, what))];
    return [...new Map(all.map((each) => [each.digest, each])).values()];
  }

  async pushBlob(bytes: Uint8Array, what: string): Promise<Digest> {
    const [connection] = this.#connections;
    if (connection === undefined) throw new TypeError("a client has a connection");
    const digest = digestOf(bytes);
    const call = { maxBytes: sizeCaps.config, what: `push ${what} to ${this.#name}` };
    const path = `${this.#repository}/blobs/${digest}`;
    const there = await connection.call({ ...call, method: "HEAD", path, accepts: [404] });
    if (there.status === 200) return digest;
    const started = await connection.call({ ...call, method: "POST", path: `${this.#repository}/blobs/uploads/` });
    const { location } = started.headers;
    const url = typeof location === "string" ? URL.parse(location, `${connection.endpoint.url}/`) : null;
    if (url === null)
      throw new ImageError(`${call.what}: the registry named no place to upload to`, {
        code: "registry-refused",
        retry: "when-changed",
      });
    url.searchParams.set("digest", digest);
    const headers = { "content-type": "application/octet-stream" };
    await connection.call({ ...call, method: "PUT", path: url.href, headers, body: bytes });
    return digest;
  }

  async pushManifest(bytes: Uint8Array, mediaType: string, tagOrDigest: string): Promise<Digest> {
    const [connection] = this.#connections;
    if (connection === undefined) throw new TypeError("a client has a connection");
    await connection.call({
      method: "PUT",
      path: `${this.#repository}/manifests/${tagOrDigest}`,
      headers: { "content-type": mediaType },
      body: bytes,
      maxBytes: sizeCaps.config,
      what: `push manifest ${tagOrDigest} to ${this.#name}`,
    });
    return digestOf(bytes);
  }

  /** Asks one host after the other; when none has it, the message is that of the last, and says who else was asked. */
  async #try<T>(capability: Capability, call: Call, read: (answer: Answer) => T): Promise<T> {
    const failures: ImageError[] = [];
    for (const connection of this.#connections) {
      if (!connection.endpoint.capabilities.includes(capability)) continue;
      try {
        return read(await connection.call(call));
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        failures.push(error);
      }
    }
    const last = failures.at(-1);
    if (last === undefined)
      throw new ImageError(`${call.what}: hosts.toml lets no host ${capability}`, {
        code: "invalid",
        retry: "when-changed",
      });
    if (failures.length === 1) throw last;
    // That one host does not have it says less than that another could not be asked.
    const telling = failures.find(({ code }) => code !== "image-not-found") ?? last;
    const others = failures.length - 1;
    throw new ImageError(
      `${telling.message} (${others} other ${others === 1 ? "host" : "hosts"} of hosts.toml had it neither)`,
      {
        code: telling.code,
        retry: telling.retry,
        detail: failures.map(({ message }) => message).join("\n"),
        cause: telling,
      },
    );
  }
}

function readIndex(bytes: Uint8Array, what: string): readonly Descriptor[] {
  const index = parseManifest(bytes, what);
  return isIndex(index) ? index.manifests : [];
}
