import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fixedCredentials } from "../http/access.ts";
import type { ClusterAccess } from "../http/access.ts";

export type Answerer = (request: IncomingMessage, response: ServerResponse) => void;

/** A server on loopback that answers one request after the other as it was told, the last one for ever. */
export class ScriptServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #script: Answerer[];
  /** `METHOD PATH?QUERY` of every request. */
  readonly asked: string[] = [];

  private constructor(script: readonly Answerer[]) {
    this.#script = [...script];
    this.#server = createServer((request, response) => {
      this.asked.push(`${request.method} ${request.url}`);
      const answer = this.#script.length > 1 ? this.#script.shift() : this.#script[0];
      answer?.(request, response);
    });
  }

  static async start(...script: readonly Answerer[]): Promise<ScriptServer> {
    const server = new ScriptServer(script);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get access(): ClusterAccess {
    const { port } = this.#server.address() as AddressInfo;
    const credentials = fixedCredentials({ authorization: "Bearer t" });
    return { server: `http://127.0.0.1:${port}`, namespace: "default", tls: {}, credentials };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function answerJson(body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Answerer {
  return (_request, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
}

/** A watch that sends these pieces and then ends, breaks off, or stays open for ever. */
export function answerStream(end: "end" | "break" | "stay", ...pieces: readonly string[]): Answerer {
  return (_request, response) => {
    response.writeHead(200, { "content-type": "application/json", "transfer-encoding": "chunked" });
    response.flushHeaders();
    for (const piece of pieces) response.write(piece);
    if (end === "end") response.end();
    if (end === "break") setTimeout(() => response.destroy(), 50);
  };
}
