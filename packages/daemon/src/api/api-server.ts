import { rmSync } from "node:fs";
import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import { connect } from "node:net";
import { errorText, KernelError } from "@bpfleet/base";
import type { Machine } from "../machine/machine.ts";
import type { ApiHandler } from "./api-handler.ts";
import type { ServedDaemon } from "./daemon-routes.ts";
import { listenOnSocket, type SocketAccess } from "./unix-socket.ts";

/** So long after the start the code that answers is loaded, unless somebody asks before. */
const idleMs = 1000;

/** The daemon's API (gRPC, and Connect for curl) on a unix socket that only its owner may open. */
export class ApiServer implements AsyncDisposable {
  readonly #server: Http2Server;
  readonly #socket: string;
  readonly #sessions = new Set<ServerHttp2Session>();

  readonly #loadSoon: NodeJS.Timeout;

  private constructor(server: Http2Server, socket: string, load: () => Promise<ApiHandler>) {
    this.#server = server;
    this.#socket = socket;
    this.#loadSoon = setTimeout(() => void load().catch(() => undefined), idleMs);
    this.#loadSoon.unref();
    server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
      // A caller that is killed resets its connection; that ends its session and is nobody's error.
      session.on("error", () => session.destroy());
    });
  }

  static listen(socket: string, daemon: ServedDaemon, machine?: Machine): Promise<ApiServer> {
    return ApiServer.#listen(socket, daemon, machine, { mode: 0o600 });
  }

  /** Only MachineService, for whom `access` lets in. */
  static listenFor(access: SocketAccess, socket: string, machine: Machine): Promise<ApiServer> {
    return ApiServer.#listen(socket, undefined, machine, access);
  }

  static async #listen(
    socket: string,
    daemon: ServedDaemon | undefined,
    machine: Machine | undefined,
    access: SocketAccess,
  ): Promise<ApiServer> {
    // What answers is a third of a daemon's code: what is declared is in force before it is loaded.
    let handler: Promise<ApiHandler> | undefined;
    const load = (): Promise<ApiHandler> =>
      (handler ??= import("./api-handler.ts").then(({ createApiHandler }) => createApiHandler(daemon, machine)));
    const server = createServer((request, response) => {
      load().then(
        (handle) => handle(request, response),
        (error: unknown) => response.stream.destroy(error instanceof Error ? error : new Error(String(error))),
      );
    });
    const api = new ApiServer(server, socket, load);
    try {
      if (await isAnswered(socket))
        throw new KernelError("another process answers there", { code: "busy", call: "BIND", retry: "when-changed" });
      await listenOnSocket(server, socket, access);
    } catch (cause) {
      clearTimeout(api.#loadSoon);
      const code = cause instanceof KernelError ? cause.code : "internal";
      throw new KernelError(
        `serve the API at ${socket}: ${errorText(cause)}; stop the other one, or choose another socket`,
        { code, call: "BIND", retry: "when-changed", cause },
      );
    }
    return api;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#loadSoon);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.destroy();
    await closed;
    rmSync(this.#socket, { force: true });
  }
}

async function isAnswered(socket: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const connection = connect(socket, () => resolve(true));
  connection.on("error", () => resolve(false));
  try {
    return await promise;
  } finally {
    connection.destroy();
  }
}
