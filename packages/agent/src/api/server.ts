import { createServer, type ServerResponse } from "node:http";
import { rm } from "node:fs/promises";
import type { Agent } from "../agent.ts";
import { listenOnOwnSocket } from "./own-socket.ts";
import { encodeReport } from "./report-json.ts";

/** Serves the agent's reports on a unix socket that only its owner may open. */
export async function serveAgent(agent: Agent, socket: string): Promise<AsyncDisposable> {
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
  const taken = `serve ${socket}: another agent answers there already; stop it, or give --socket`;
  await listenOnOwnSocket(server, socket, taken);
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
