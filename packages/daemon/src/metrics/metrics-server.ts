import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { rmSync } from "node:fs";
import type { ListenOptions } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { errorText, KernelError } from "@bpfleet/base";
import type { MetricsAddress } from "../daemon.ts";
import { expositionType } from "./exposition.ts";

/** Serves `/metrics`, and nothing else. */
export class MetricsServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #address: MetricsAddress;

  private constructor(server: Server, address: MetricsAddress) {
    this.#server = server;
    this.#address = address;
  }

  /** `render` is asked at each scrape. */
  static async listen(address: MetricsAddress, render: () => AsyncIterable<string>): Promise<MetricsServer> {
    const server = createServer(
      { requestTimeout: 10_000, headersTimeout: 5_000 },
      // Half an answer must not look like a whole one: the connection is cut, and the scrape counts as failed.
      (request, response) => void answer(request, response, render).catch(() => response.destroy()),
    );
    const where = "unix" in address ? address.unix : `${address.host ?? "127.0.0.1"}:${address.port}`;
    // The caller holds the node's lock, so a socket that is there is of a process that is gone.
    if ("unix" in address) rmSync(address.unix, { force: true });
    const at = "unix" in address ? { path: address.unix } : { host: address.host ?? "127.0.0.1", port: address.port };
    try {
      await listenAt(server, at);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code === "EADDRINUSE" ? "busy" : "internal";
      throw new KernelError(`serve metrics on ${where}: ${errorText(cause)}; choose another address`, {
        code,
        call: "LISTEN",
        retry: "when-changed",
        cause,
      });
    }
    return new MetricsServer(server, address);
  }

  /** The port that was taken; for `port: 0`. */
  get port(): number | undefined {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    if ("unix" in this.#address) rmSync(this.#address.unix, { force: true });
  }
}

/** Every address is that of IPv4 where the kernel has no IPv6 (`ipv6.disable=1`). */
async function listenAt(server: Server, at: ListenOptions): Promise<void> {
  try {
    await once(server.listen(at), "listening");
  } catch (error) {
    if (at.host !== "::" || (error as NodeJS.ErrnoException).code !== "EAFNOSUPPORT") throw error;
    await once(server.listen({ ...at, host: "0.0.0.0" }), "listening");
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  render: () => AsyncIterable<string>,
): Promise<void> {
  // Not by URL: what it cannot read it throws at.
  if (request.url?.split("?")[0] !== "/metrics")
    return void response.writeHead(404, { "content-type": "text/plain" }).end("metrics are at /metrics\n");
  if (request.method !== "GET" && request.method !== "HEAD")
    return void response.writeHead(405, { allow: "GET, HEAD" }).end();
  response.writeHead(200, { "content-type": expositionType });
  if (request.method === "HEAD") return void response.end();
  await pipeline(Readable.from(render(), { objectMode: true }), response);
}
