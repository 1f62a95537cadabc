import { stat } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { errorCodes, errorText, ImageError, KernelError, tellEach, type ErrorCode } from "@bpfleet/base";
import { renderSource, type BytecodeFacts, type BytecodeReady, type BytecodeSource } from "@bpfleet/kernel";
import type * as oci from "@bpfleet/oci";
import type { Bytecode, FetchProgress, FetchRequest } from "@bpfleet/oci";
import { ContentStore, isDigest, openPolicy, type ImagePolicy, type Proxies } from "@bpfleet/oci/local";
import type { ObjectFacts } from "./read-object.ts";
import { readSourceFile } from "./read-source-file.ts";

/** `data` of Secrets with credentials of registries, by `namespace/name`: values in base64. */
export type PullSecrets = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface BytecodeWatchOptions {
  /** Directory of what was fetched. */
  readonly store: string;
  /** File that says which signatures are asked for; without one nobody looks. */
  readonly policy?: string | undefined;
  /** The file of the policy need not be there; nobody looks then. */
  readonly mayLackPolicy?: boolean | undefined;
  /** Directory of `<host>/hosts.toml` files. */
  readonly mirrors?: string | undefined;
  readonly proxies?: Proxies | undefined;
  readonly onChange: (facts: Readonly<Record<string, BytecodeFacts>>) => void;
  readonly onTrouble: (error: unknown) => void;
  /** Between two looks at files and the policy. */
  readonly pollMs?: number | undefined;
  /** After a failure: the first wait, doubled up to the longest. */
  readonly retry?: { readonly firstMs: number; readonly longestMs: number } | undefined;
  /** Between two looks at what an image with pull policy Always is now, give or take a fifth; Infinity is never. */
  readonly checkMs?: number | undefined;
  /** A fetch that takes longer tells how far it has come, and again each time it took as long. */
  readonly slowMs?: number | undefined;
  readonly fetch?: ((request: FetchRequest) => Promise<Bytecode>) | undefined;
}

interface Watched {
  readonly source: BytecodeSource;
  secret: string;
  facts: BytecodeFacts;
  /** What tells that the file or the policy is another one than the one that was read. */
  seen: string;
  /** The same of when it was ready last: for images, under which policy. */
  readySeen: string;
  failures: number;
  dueMs: number;
  working: AbortController | undefined;
  fetching: Fetching | undefined;
}

interface Fetching {
  readonly reference: string;
  readonly sinceMs: number;
  progress: FetchProgress | undefined;
}

const usualSlowMs = 15_000;
const usualCheckMs = 300_000;
const objectPrefix = "bytecode/";

/** Fetches, verifies and reads the objects that declarations name, and goes on trying those that it could not have. */
export class BytecodeWatch implements AsyncDisposable {
  readonly #options: BytecodeWatchOptions;
  readonly #store: ContentStore;
  readonly #watched = new Map<string, Watched>();
  readonly #timer: NodeJS.Timeout;
  readonly #work = new Set<Promise<void>>();
  #secrets: PullSecrets = {};
  #published: Readonly<Record<string, BytecodeFacts>> = {};
  #isStopped = false;

  constructor(options: BytecodeWatchOptions) {
    this.#options = options;
    this.#store = new ContentStore(options.store);
    this.#timer = setInterval(() => this.#look(), options.pollMs ?? 1000);
    this.#timer.unref();
  }

  facts(): Readonly<Record<string, BytecodeFacts>> {
    return this.#published;
  }

  /** Replaces the earlier list; those that stay are not fetched again unless their secret is another one. */
  watch(sources: readonly BytecodeSource[], secrets: PullSecrets): void {
    this.#secrets = secrets;
    const wanted = new Map(sources.map((source) => [renderSource(source), source]));
    for (const [key, { working }] of this.#watched) {
      if (wanted.has(key)) continue;
      working?.abort();
      this.#watched.delete(key);
    }
    for (const [key, source] of wanted) {
      const secret = this.#secretOf(source);
      const there = this.#watched.get(key);
      if (there === undefined) {
        const facts = { state: "fetching" } as const;
        this.#watched.set(key, {
          source,
          secret,
          facts,
          seen: "",
          readySeen: "",
          failures: 0,
          dueMs: 0,
          working: undefined,
          fetching: undefined,
        });
      } else if (there.secret !== secret) {
        there.secret = secret;
        there.failures = 0;
        there.dueMs = 0;
        there.working?.abort();
      }
    }
    this.#publish();
    this.#look();
  }

  /** The bytes of `bytecode/<digest>`, verified; `undefined` for other names and for what is not in the store. */
  async load(name: string): Promise<Uint8Array | undefined> {
    const digest = `sha256:${name.slice(objectPrefix.length)}`;
    return name.startsWith(objectPrefix) && isDigest(digest) ? this.#store.findBlob(digest) : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    for (const { working } of this.#watched.values()) working?.abort();
    await Promise.allSettled(this.#work);
  }

  #look(): void {
    for (const [key, watched] of this.#watched) {
      if (watched.working !== undefined) this.#tellSlow(watched);
      if (watched.working !== undefined || this.#isStopped) continue;
      const controller = new AbortController();
      watched.working = controller;
      const work = this.#refresh(key, watched, controller.signal).finally(() => {
        if (watched.working === controller) watched.working = undefined;
        this.#work.delete(work);
      });
      this.#work.add(work);
    }
  }

  /** Whoever waits for a registry that hangs is to see it before it is given up. */
  #tellSlow(watched: Watched): void {
    const { facts, fetching } = watched;
    if (facts.state !== "fetching" || fetching === undefined) return;
    const slowMs = this.#options.slowMs ?? usualSlowMs;
    const times = Math.floor((performance.now() - fetching.sinceMs) / slowMs);
    if (times === 0) return;
    const after = `still fetching ${fetching.reference} after ${(times * slowMs) / 1000} s: `;
    if (facts.slow?.startsWith(after) === true) return;
    const { progress } = fetching;
    const of = progress?.total === undefined ? "" : ` of ${progress.total}`;
    const come = progress === undefined ? "nothing was answered yet" : `${progress.bytes}${of} bytes`;
    watched.facts = { state: "fetching", slow: `${after}${come}` };
    this.#publish();
  }

  async #refresh(key: string, watched: Watched, signal: AbortSignal): Promise<void> {
    const { source } = watched;
    const seen = await stampOf(source.from === "file" ? source.path : this.#options.policy);
    const isNew = seen !== watched.seen;
    if (!isNew && watched.dueMs > performance.now()) return;
    if (isNew) watched.failures = 0;
    watched.seen = seen;
    const before = readyOf(watched.facts);
    const facts = await this.#read(watched, signal).catch((error: unknown): BytecodeFacts => {
      const code = error instanceof ImageError || error instanceof KernelError ? error.code : "internal";
      // What the policy refused after it changed must not go on by its name.
      const isRevoked = code === "signature-refused" && watched.readySeen !== seen;
      return {
        state: "failed",
        reason: reasonOf(code),
        message: errorText(error),
        ...(!isRevoked && before && { earlier: before }),
      };
    });
    if (signal.aborted || this.#watched.get(key) !== watched) return;
    watched.facts = facts;
    if (facts.state === "failed") {
      const { firstMs, longestMs } = this.#options.retry ?? { firstMs: 5000, longestMs: 300_000 };
      watched.dueMs = performance.now() + Math.min(longestMs, firstMs * 2 ** watched.failures++);
    } else {
      watched.failures = 0;
      watched.dueMs = performance.now() + this.#checkMs(source);
      watched.readySeen = seen;
    }
    this.#publish();
  }

  /** Nodes that were started together do not ask together. */
  #checkMs(source: BytecodeSource): number {
    const mayChange = source.from === "image" && source.pullPolicy === "Always" && !source.reference.includes("@");
    return mayChange ? (this.#options.checkMs ?? usualCheckMs) * (0.8 + 0.4 * Math.random()) : Infinity;
  }

  async #read(watched: Watched, signal: AbortSignal): Promise<BytecodeReady> {
    const { source } = watched;
    if (source.from === "file") {
      const bytes = await readSourceFile(source.path);
      const facts = await readObjectOf(bytes, source.path);
      await this.#store.writeBlob(bytes);
      return { state: "ready", signature: "unsigned", labels: {}, ...facts };
    }
    const fetching: Fetching = { reference: source.reference, sinceMs: performance.now(), progress: undefined };
    const request: FetchRequest = {
      onProgress: (progress) => (fetching.progress = progress),
      reference: source.reference,
      pullPolicy: source.pullPolicy,
      policy: await this.#policy(),
      auth: await this.#credentials(source.pullSecret),
      store: this.#store,
      signal,
      proxies: this.#options.proxies,
      ...(this.#options.mirrors !== undefined && { mirrors: this.#options.mirrors }),
    };
    const fetch = this.#options.fetch ?? (await loadOci()).fetchBytecode;
    watched.fetching = fetching;
    const fetched = fetch(request).finally(() => (watched.fetching = undefined));
    const { bytes, digest, labels, signature } = await fetched;
    const facts = await readObjectOf(bytes, source.reference);
    await this.#store.writeBlob(bytes);
    return { state: "ready", imageDigest: digest, signature: signatureText(signature), labels: labels.all, ...facts };
  }

  async #policy(): Promise<ImagePolicy> {
    const { policy, mayLackPolicy = false } = this.#options;
    if (policy === undefined) return openPolicy;
    const { loadImagePolicy, loadNodePolicy } = await loadOci();
    const loaded = await (mayLackPolicy ? loadNodePolicy : loadImagePolicy)(policy);
    if (loaded.ok) return loaded.value;
    const said = loaded.issues.map(({ message }) => message).join("; ");
    throw new ImageError(`read the image policy of this node: ${said}`, { code: "invalid", retry: "when-changed" });
  }

  async #credentials(pullSecret: string | undefined): Promise<NonNullable<FetchRequest["auth"]>> {
    const data = pullSecret === undefined ? undefined : this.#secrets[pullSecret];
    if (data === undefined) return new Map();
    const read = (await loadOci()).credentialsOfSecret(data);
    if (read.ok) return read.value;
    const said = read.issues.map(({ message }) => message).join("; ");
    throw new ImageError(`use Secret ${pullSecret}: ${said}`, { code: "unauthorized", retry: "when-changed" });
  }

  #secretOf(source: BytecodeSource): string {
    const name = source.from === "image" ? source.pullSecret : undefined;
    return name === undefined ? "" : JSON.stringify(this.#secrets[name] ?? {});
  }

  #publish(): void {
    const facts = Object.fromEntries([...this.#watched].map(([key, watched]) => [key, watched.facts]));
    if (isDeepStrictEqual(facts, this.#published)) return;
    this.#published = facts;
    tellEach([this.#options.onChange], this.#options.onTrouble, facts);
  }
}

/** Registries and signatures are most of the code of a daemon, and most nodes ask for none. */
function loadOci(): Promise<typeof oci> {
  return import("@bpfleet/oci");
}

async function readObjectOf(bytes: Uint8Array, what: string): Promise<ObjectFacts> {
  const { readObject } = await import("./read-object.ts");
  return readObject(bytes, what);
}

function readyOf(facts: BytecodeFacts): BytecodeReady | undefined {
  if (facts.state === "ready") return facts;
  return facts.state === "failed" ? facts.earlier : undefined;
}

/** Another text when the file is another one; `-` without one. */
async function stampOf(path: string | undefined): Promise<string> {
  if (path === undefined) return "-";
  const facts = await stat(path, { bigint: true }).catch(() => undefined);
  return facts === undefined ? "gone" : `${facts.ino} ${facts.size} ${facts.mtimeNs}`;
}

const ownReasons: Readonly<Partial<Record<ErrorCode, string>>> = {
  "signature-refused": "SignatureRefused",
  "not-elf": "NotAnObject",
  "no-btf": "NotAnObject",
};

function reasonOf(code: ErrorCode): string {
  return ownReasons[code] ?? errorCodes[code].reason;
}

function signatureText(signature: Bytecode["signature"]): string {
  if (signature.state === "not-checked") return "not checked";
  if (signature.state !== "verified") return signature.state;
  const { by } = signature;
  return by.kind === "key" ? `key ${by.name}` : `${by.subject} (${by.issuer})`;
}
