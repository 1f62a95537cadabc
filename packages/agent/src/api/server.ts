import { createServer, type ServerResponse } from "node:http";
import { chmod, mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Agent } from "../agent.ts";
import { answers } from "./client.ts";
import { encodeReport } from "./report-json.ts";

/** Serves the agent's reports on a unix socket that only its owner may open. */
export async function serveAgent(agent: Agent, socket: string): Promise<AsyncDisposable> {
  await mkdir(dirname(socket), { recursive: true, mode: 0o755 });
  if (await answers(socket))
    throw new Error(`serve ${socket}: another agent answers there already; stop it, or give --socket`);
  await rm(socket, { force: true });
  const server = createServer((request, response) => {
    request.resume();
    switch (`${request.method} ${request.url}`) {
      case "GET /v1/report":
        return void reply(response, () => agent.report());
      case "POST /v1/sync":
        return void reply(response, () => agent.sync());
      default:
        response.writeHead(404, { "content-type": "text/plain" }).end("GET /v1/report or POST /v1/sync\n");
    }
  });
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  const umask = process.umask(0o177);
  try {
    server.listen(socket, listening.resolve);
  } finally {
    process.umask(umask);
  }
  await listening.promise;
  await chmod(socket, 0o600);
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      await rm(socket, { force: true });
    },
  };
}

async function reply(response: ServerResponse, work: () => ReturnType<Agent["report"]>): Promise<void> {
  try {
    const body = encodeReport(await work());
    response.writeHead(200, { "content-type": "application/json" }).end(body);
  } catch (error) {
    response
      .writeHead(500, { "content-type": "text/plain" })
      .end(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}
