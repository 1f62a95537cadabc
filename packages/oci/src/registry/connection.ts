import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { getCACertificates } from "node:tls";
import { ImageError, isRecord } from "@bpfleet/base";
import { Agent, ProxyAgent, type buildConnector, type Dispatcher } from "undici";
import type { FetchProgress } from "../fetch-request.ts";
import { defaultHost } from "../reference.ts";
import { parseChallenges } from "./challenge.ts";
import type { Challenge } from "./challenge.ts";
import { findCredential } from "./credentials.ts";
import type { Credential, Credentials } from "./credentials.ts";
import type { Endpoint } from "./hosts.ts";
import { proxyFor, type Proxies } from "./proxies.ts";
import { connectionFailure, refusal } from "./registry-failure.ts";
import type { Question } from "./registry-failure.ts";

export interface Call {
  readonly method: "GET" | "HEAD" | "POST" | "PUT";
  /** Under the endpoint's URL, or a whole URL that the registry gave. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** The answer may have this many bytes. */
  readonly maxBytes: number;
  /** For messages: verb and object. */
  readonly what: string;
  /** Answers that the caller understands beside 2xx. */
  readonly accepts?: readonly number[];
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
}

export interface ConnectionOptions {
  readonly credentials: Credentials;
  readonly repository: string;
  /** What a token is asked for. */
  readonly actions: "pull" | "pull,push";
  readonly signal?: AbortSignal | undefined;
  readonly proxies?: Proxies | undefined;
  /** Wait before the first further attempt; each next one waits twice as long. */
  readonly backoffMs?: number;
  readonly patience?: Partial<Patience> | undefined;
  readonly onProgress?: ((progress: FetchProgress) => void) | undefined;
}

export interface Patience {
  /** Without a byte of the answer. */
  readonly silenceMs: number;
  /** For one answer as a whole, however slowly it comes. */
  readonly answerMs: number;
}

const usualPatience: Patience = { silenceMs: 30_000, answerMs: 300_000 };
const connectMs = 10_000;
const attempts = 4;
const maxRedirects = 5;
const maxWaitMs = 10_000;
const maxTokenBytes = 256 * 1024;

/**
 * Talks with one endpoint about one repository: authenticates, follows redirects, tries again. A credential
 * goes to the host that it is for and to the token server that this host names by TLS, nowhere else.
 */
export class Connection implements AsyncDisposable {
  readonly endpoint: Endpoint;
  readonly host: string;
  readonly #options: ConnectionOptions;
  readonly #credential: Credential | undefined;
  readonly #own: Roads;
  /** Without client certificate: for hosts that the registry sends us to. */
  readonly #strangers: Roads;
  #authorization: string | undefined;

  private constructor(endpoint: Endpoint, options: ConnectionOptions, own: Roads, strangers: Roads) {
    this.endpoint = endpoint;
    this.host = new URL(endpoint.url).host;
    this.#options = options;
    const name = this.host === "registry-1.docker.io" ? defaultHost : this.host;
    this.#credential = findCredential(options.credentials, name, options.repository);
    this.#own = own;
    this.#strangers = strangers;
  }

  static async open(endpoint: Endpoint, options: ConnectionOptions): Promise<Connection> {
    const own = await Promise.all(endpoint.ca.map((path) => readPem(path)));
    const ca = own.length === 0 ? {} : { ca: [...getCACertificates("default"), ...own] };
    const [client] = endpoint.client;
    const pair = client === undefined ? {} : { cert: await readPem(client.cert), key: await readPem(client.key) };
    const tls = { ...ca, ...pair, rejectUnauthorized: !endpoint.skipsVerification };
    const { proxies, patience } = options;
    const { silenceMs } = { ...usualPatience, ...patience };
    return new Connection(endpoint, options, new Roads(tls, silenceMs, proxies), new Roads(ca, silenceMs, proxies));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#own[Symbol.asyncDispose](), this.#strangers[Symbol.asyncDispose]()]);
  }

  /** Throws an ImageError for every answer that is neither 2xx nor accepted. */
  async call(call: Call): Promise<Answer> {
    const hasCredential = this.#credential !== undefined;
    const proxy = proxyFor(new URL(this.endpoint.url), this.#options.proxies);
    const via = proxy === undefined ? undefined : new URL(proxy).host;
    const question: Question = { what: call.what, from: this.host, via, hasCredential };
    let waitMs = this.#options.backoffMs ?? 250;
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt === attempts || call.method === "POST";
      let answer: Answer;
      try {
        answer = await this.#authenticated(call, question);
      } catch (cause) {
        this.#options.signal?.throwIfAborted();
        const failure = cause instanceof ImageError ? cause : connectionFailure(question, cause);
        if (isLast || failure.code !== "registry-unreachable" || isHopeless(cause)) throw failure;
        await this.#wait(waitMs);
        waitMs *= 2;
        continue;
      }
      if ((answer.status >= 200 && answer.status < 300) || call.accepts?.includes(answer.status) === true)
        return answer;
      const mayPass = answer.status === 429 || answer.status === 408 || answer.status >= 500;
      if (isLast || !mayPass) throw refusal(question, answer.status, answer.body);
      await this.#wait(Math.max(waitMs, retryAfterMs(answer)));
      waitMs *= 2;
    }
  }

  async #wait(ms: number): Promise<void> {
    // Nodes that were refused together do not come back together.
    const spread = Math.min(ms, maxWaitMs) * (0.75 + Math.random() / 2);
    await sleep(spread, undefined, this.#options.signal === undefined ? {} : { signal: this.#options.signal });
  }

  async #authenticated(call: Call, question: Question): Promise<Answer> {
    const first = await this.#follow(call, question);
    if (first.status !== 401) return first;
    const header = first.headers["www-authenticate"];
    const challenges = parseChallenges(Array.isArray(header) ? header.join(", ") : (header ?? ""));
    const authorization = await this.#answer(challenges, question);
    if (authorization === undefined) return first;
    this.#authorization = authorization;
    return this.#follow(call, question);
  }

  async #follow(call: Call, question: Question): Promise<Answer> {
    let url = new URL(call.path.includes("://") ? call.path : `${this.endpoint.url}/${call.path}`);
    for (let redirects = 0; ; redirects++) {
      const isOwn = url.origin === new URL(this.endpoint.url).origin;
      const answer = await this.#send(url, call, isOwn, call.maxBytes);
      const { location } = answer.headers;
      const isRedirect = [301, 302, 303, 307, 308].includes(answer.status) && typeof location === "string";
      if (!isRedirect) return answer;
      const target = URL.parse(location, url.href);
      if (redirects === maxRedirects || target === null || call.method === "PUT" || call.method === "POST")
        throw new ImageError(`${question.what} from ${question.from}: redirected too often or to nowhere`, {
          code: "registry-refused",
          retry: "when-changed",
        });
      if (target.protocol !== "https:" && url.protocol === "https:")
        throw new ImageError(
          `${question.what} from ${question.from}: redirected from https to ${target.protocol}//${target.host}; that is not followed`,
          { code: "registry-refused", retry: "when-changed" },
        );
      url = target;
    }
  }

  async #send(
    url: URL,
    call: Pick<Call, "method" | "headers" | "body" | "what">,
    isOwn: boolean,
    maxBytes: number,
  ): Promise<Answer> {
    const { answerMs } = { ...usualPatience, ...this.#options.patience };
    const late = AbortSignal.timeout(answerMs);
    try {
      const signal = AbortSignal.any([late, ...(this.#options.signal === undefined ? [] : [this.#options.signal])]);
      return await this.#exchange(url, call, isOwn, maxBytes, signal);
    } catch (cause) {
      if (!late.aborted || this.#options.signal?.aborted === true) throw cause;
      throw new ImageError(
        `${call.what} from ${url.host}: the answer is not whole after ${answerMs / 1000} s; check the network, or serve it from a mirror`,
        { code: "registry-unreachable", retry: "backoff", cause },
      );
    }
  }

  async #exchange(
    url: URL,
    call: Pick<Call, "method" | "headers" | "body" | "what">,
    isOwn: boolean,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<Answer> {
    const authorization = isOwn && this.#authorization !== undefined ? { authorization: this.#authorization } : {};
    const { statusCode, headers, body } = await (isOwn ? this.#own : this.#strangers).to(url).request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: call.method,
      headers: { ...(isOwn ? this.endpoint.headers : {}), ...call.headers, ...authorization },
      ...(call.body === undefined ? {} : { body: call.body }),
      signal,
    });
    const chunks: Buffer[] = [];
    let size = 0;
    const length = headers["content-length"];
    const total = typeof length === "string" ? Number(length) : undefined;
    this.#options.onProgress?.({ bytes: 0, total });
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes)
        throw new ImageError(
          `${call.what} from ${url.host}: it has more than the ${maxBytes} bytes that are allowed; check that it is a bytecode image`,
          {
            code: "too-big",
            retry: "when-changed",
          },
        );
      chunks.push(chunk);
      this.#options.onProgress?.({ bytes: size, total });
    }
    return { status: statusCode, headers, body: Buffer.concat(chunks) };
  }

  /** The header that answers the first challenge that we can answer. */
  async #answer(challenges: readonly Challenge[], question: Question): Promise<string | undefined> {
    for (const { scheme, parameters } of challenges) {
      if (scheme === "bearer") return `Bearer ${await this.#fetchToken(parameters, question)}`;
      if (scheme === "basic" && this.#credential !== undefined && !this.#credential.isIdentityToken)
        return basic(this.#credential);
    }
    return undefined;
  }

  async #fetchToken(parameters: Readonly<Record<string, string>>, question: Question): Promise<string> {
    const refuse = (why: string): never => {
      throw new ImageError(`${question.what} from ${question.from}: ${why}`, {
        code: "registry-refused",
        retry: "when-changed",
      });
    };
    const { realm = "", service = "" } = parameters;
    const url = URL.parse(realm);
    const own = new URL(this.endpoint.url);
    if (url === null || (url.protocol !== "https:" && url.protocol !== "http:"))
      return refuse(`it names no token server: realm ${JSON.stringify(realm)}`);
    if (url.protocol === "http:" && own.protocol === "https:")
      return refuse(`its token server ${url.host} is without TLS; no password is sent there`);
    const scope = `repository:${this.#options.repository}:${this.#options.actions}`;
    const isOwn = url.origin === own.origin;
    const credential = this.#credential;
    const call = { what: `get a token for ${question.what} from ${question.from}` };
    const asked: Question = { ...question, what: call.what, from: url.host };
    let answer: Answer;
    if (credential?.isIdentityToken === true) {
      const form = new URLSearchParams({ grant_type: "refresh_token", service, scope, client_id: "bpfleet" });
      form.set("refresh_token", credential.reveal());
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      answer = await this.#sendTo(url, { ...call, method: "POST", headers, body: Buffer.from(form.toString()) }, isOwn);
    } else {
      if (service !== "") url.searchParams.set("service", service);
      url.searchParams.set("scope", scope);
      const headers = credential === undefined ? {} : { authorization: basic(credential) };
      answer = await this.#sendTo(url, { ...call, method: "GET", headers }, isOwn);
    }
    if (answer.status !== 200) throw refusal({ ...asked, from: question.from }, answer.status, answer.body);
    return readToken(answer.body) ?? refuse(`its token server ${url.host} gave no token`);
  }

  /** Without the authorization of the registry: the token server has its own. */
  async #sendTo(url: URL, call: Pick<Call, "method" | "headers" | "body" | "what">, isOwn: boolean): Promise<Answer> {
    this.#authorization = undefined;
    return this.#send(url, call, isOwn, maxTokenBytes);
  }
}

/** The ways to hosts with one set of certificates: straight, or by a proxy. */
class Roads implements AsyncDisposable {
  readonly #tls: buildConnector.BuildOptions;
  readonly #silenceMs: number;
  readonly #proxies: Proxies | undefined;
  readonly #agents = new Map<string, Dispatcher>();

  constructor(tls: buildConnector.BuildOptions, silenceMs: number, proxies: Proxies | undefined) {
    this.#tls = { ...tls, timeout: connectMs };
    this.#silenceMs = silenceMs;
    this.#proxies = proxies;
  }

  to(url: URL): Dispatcher {
    const proxy = proxyFor(url, this.#proxies) ?? "";
    const known = this.#agents.get(proxy);
    if (known !== undefined) return known;
    const timeouts = {
      headersTimeout: this.#silenceMs,
      bodyTimeout: this.#silenceMs,
      connectTimeout: connectMs,
    };
    const agent =
      proxy === ""
        ? new Agent({ ...timeouts, connect: this.#tls })
        : new ProxyAgent({ ...timeouts, uri: proxy, requestTls: this.#tls });
    this.#agents.set(proxy, agent);
    return agent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
  }
}

function basic(credential: Credential): string {
  return `Basic ${Buffer.from(`${credential.username}:${credential.reveal()}`).toString("base64")}`;
}

function readToken(body: Uint8Array): string | undefined {
  let answer: unknown;
  try {
    answer = JSON.parse(Buffer.from(body).toString());
  } catch {
    return undefined;
  }
  const token = isRecord(answer) ? (answer["token"] ?? answer["access_token"]) : undefined;
  return typeof token === "string" && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}

/** A name that does not exist and a port where nobody listens stay so for the moments that we would wait. */
function isHopeless(cause: unknown): boolean {
  const { code } = cause as NodeJS.ErrnoException;
  return code === "ENOTFOUND" || code === "ECONNREFUSED";
}

function retryAfterMs({ headers }: Answer): number {
  const said = headers["retry-after"];
  if (typeof said !== "string" || said === "") return 0;
  const ms = /^\d+$/.test(said) ? Number(said) * 1000 : Date.parse(said) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), maxWaitMs) : 0;
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new ImageError(`read certificate ${path}: ${errno}; correct its path in hosts.toml`, {
      code: "invalid",
      retry: "when-changed",
      cause,
    });
  }
}
