import { createServer, type ServerResponse } from "node:http";
import { rm } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { errorText, isRecord } from "@bpfleet/base";
import type { Agent, EditRequest } from "../agent.ts";
import { listenOnOwnSocket } from "./own-socket.ts";
import { encodeReport } from "./report-json.ts";

type Route = (agent: Agent, body: Promise<string>) => Promise<string>;

const routes = new Map<string, Route>([
  ["GET /v1/report", async (agent) => encodeReport(await agent.report())],
  ["POST /v1/sync", async (agent) => encodeReport(await agent.sync())],
  ["GET /v1/policy", async (agent) => JSON.stringify(agent.policyState())],
  ["POST /v1/edit", async (agent, body) => JSON.stringify(await agent.adviseEdit(parseEditRequest(await body)))],
]);

/** Serves the agent's reports on a unix socket that only its owner may open. */
export async function serveAgent(agent: Agent, socket: string): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    const body = text(request);
    body.catch(() => undefined);
    const route = routes.get(`${request.method} ${request.url}`);
    if (route !== undefined) return void reply(response, () => route(agent, body));
    response.writeHead(404, { "content-type": "text/plain" }).end(`there are ${[...routes.keys()].join(", ")}\n`);
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

async function reply(response: ServerResponse, work: () => Promise<string>): Promise<void> {
  try {
    const body = await work();
    response.writeHead(200, { "content-type": "application/json" }).end(body);
  } catch (error) {
    response
      .writeHead(error instanceof MalformedRequest ? 400 : 500, { "content-type": "text/plain" })
      .end(`${errorText(error)}\n`);
  }
}

class MalformedRequest extends Error {}

function parseEditRequest(body: string): EditRequest {
  const { interface: name, direction, frame, peer } = parseRecord(body);
  if (typeof name !== "string" || typeof frame !== "string" || (direction !== "ingress" && direction !== "egress"))
    throw new MalformedRequest("give interface, direction and frame");
  if (peer !== undefined && typeof peer !== "string") throw new MalformedRequest("give peer as an address");
  return { interface: name, direction, frame: Buffer.from(frame, "base64"), peer };
}

/** Nothing is in what is no object of JSON. */
function parseRecord(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}
