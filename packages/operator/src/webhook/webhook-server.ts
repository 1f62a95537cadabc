import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { KeyPair } from "../certificates/authority.ts";
import { webhookPath } from "./webhook-objects.ts";

export interface WebhookOptions {
  /** Every address of the families that there are when left out. */
  readonly host?: string | undefined;
  /** 0 takes a free one. */
  readonly port: number;
  readonly certificate: KeyPair;
  /** The answer to a review, or why it is none. */
  readonly answer: (review: unknown) => object | string;
  /** Something went wrong that nobody expected; the API server was told that it did. */
  readonly onFault: (error: unknown) => void;
}

export interface WebhookServer extends AsyncDisposable {
  readonly port: number;
  /** From the next handshake on; connections that are open stay. One that cannot be read throws and changes nothing. */
  useCertificate(pair: KeyPair): void;
}

/** Two objects of the size that etcd takes, and what JSON adds to them. */
const maxBodyBytes = 16 * 1024 * 1024;
const maxConnections = 256;
const closeWithinMs = 5000;

/** Listens for reviews by HTTPS, and answers `/healthz`. */
export async function serveWebhook(options: WebhookOptions): Promise<WebhookServer> {
  const server = createServer({
    ...tls(options.certificate),
    minVersion: "TLSv1.2",
    requestTimeout: 10_000,
    headersTimeout: 5000,
    keepAliveTimeout: 90_000,
    handshakeTimeout: 5000,
  });
  server.maxConnections = maxConnections;
  server.on("request", (request, response) => {
    respond(request, response, options).catch((error: unknown) => {
      options.onFault(error);
      send(response, 500, "the review was not judged");
    });
  });
  server.listen({ port: options.port, ...(options.host !== undefined && { host: options.host }) });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    useCertificate: (pair) => server.setSecureContext({ ...tls(pair), minVersion: "TLSv1.2" }),
    [Symbol.asyncDispose]: () => close(server),
  };
}

function tls({ certificate, key }: KeyPair): { readonly cert: string; readonly key: string } {
  return { cert: certificate, key };
}

async function respond(request: IncomingMessage, response: ServerResponse, options: WebhookOptions): Promise<void> {
  const pathname = request.url?.split("?")[0];
  if (pathname === "/healthz" || pathname === "/readyz") {
    request.resume();
    send(response, 200, "ok");
    return;
  }
  if (pathname !== webhookPath) return refuse(request, response, 404, `there is ${webhookPath} only`);
  if (request.method !== "POST") return refuse(request, response, 405, "reviews are posted");
  if (!/^application\/json\b/.test(request.headers["content-type"] ?? ""))
    return refuse(request, response, 415, "reviews are application/json");
  const body = await readBody(request);
  if (body === undefined) return refuse(request, response, 413, `a review has at most ${maxBodyBytes} bytes`);
  const review = parseJson(body);
  if (review === undefined) return refuse(request, response, 400, "the body is no JSON");
  const answer = options.answer(review);
  if (typeof answer === "string") return refuse(request, response, 400, answer);
  send(response, 200, JSON.stringify(answer), "application/json");
}

/** `undefined` when there is more than anybody needs. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > maxBodyBytes) return undefined;
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request.iterator({ destroyOnReturn: false })) {
    size += (part as Buffer).length;
    if (size > maxBodyBytes) return undefined;
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What is left of the body is not read: the connection ends with the answer. */
function refuse(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  response.setHeader("connection", "close");
  response.once("finish", () => request.destroy());
  send(response, status, text);
}

function send(response: ServerResponse, status: number, text: string, type = "text/plain; charset=utf-8"): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(text) }).end(text);
}

/** Answers what is asked already; what is still open then is cut. */
async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), closeWithinMs);
  await closed;
  clearTimeout(timer);
}
