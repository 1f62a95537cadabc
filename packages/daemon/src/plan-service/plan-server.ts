import { rmSync } from "node:fs";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { Code, ConnectError, createContextKey, createContextValues, type Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { errorText, KernelError } from "@bpfleet/base";
import { guardHandler } from "@bpfleet/wire";
import { listenOnSocket, type SocketAccess } from "../api/unix-socket.ts";
import { agentIdentity, whyNotPeer } from "../tls/peer-identity.ts";
import { TlsFiles, type TlsPaths } from "../tls/tls-files.ts";
import { routePlan, type PlannedDaemon, type PlanRoutesOptions } from "./plan-routes.ts";

export interface PlanServerOptions {
  readonly socket: string;
  readonly tls: TlsPaths;
  /** Who may connect at all; the owner alone when not given. The certificate decides in any case. */
  readonly access?: SocketAccess | undefined;
  readonly onTrouble: (error: unknown) => void;
  /** Between two looks at the certificate files. */
  readonly pollMs?: number | undefined;
  readonly protocols?: PlanRoutesOptions["protocols"];
  readonly onAgent?: PlanRoutesOptions["onAgent"];
}

/** Parts are cut well below this; the cgroups of ten thousand pods fit. */
const readMaxBytes = 8 << 20;
const hangUpMs = 1000;
const largestFrameWindow = 1 << 20;

/** Why the caller is not the agent; `""` when it is. */
const refusedKey = createContextKey<string>("nobody looked");

/** PlanService on a unix socket, for the agent's certificate alone. Starts to listen when the certificate files are there. */
export class PlanServer implements AsyncDisposable {
  readonly #options: PlanServerOptions;
  readonly #daemon: PlannedDaemon;
  readonly #files: TlsFiles;
  readonly #connections = new Set<Socket>();
  #server: Http2SecureServer | undefined;
  #starting: Promise<void> | undefined;
  #waiting: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(daemon: PlannedDaemon, options: PlanServerOptions) {
    this.#daemon = daemon;
    this.#options = options;
    this.#files = new TlsFiles(options.tls, {
      pollMs: options.pollMs,
      onChange: ({ cert, key, ca }) => this.#server?.setSecureContext({ cert, key, ca }),
      onTrouble: (why) => options.onTrouble(new Error(`certificates of the plan service: ${why}`)),
      onEnded: (cert, at) =>
        options.onTrouble(
          new Error(
            `certificates of the plan service: ${cert} has ended at ${at.toISOString()}; renew it: no agent comes in, and what is in force stays`,
          ),
        ),
    });
  }

  static async start(daemon: PlannedDaemon, options: PlanServerOptions): Promise<PlanServer> {
    const server = new PlanServer(daemon, options);
    try {
      await server.#listenWhenReady();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  async #listenWhenReady(): Promise<void> {
    if (this.#files.current() !== undefined) return this.#listen();
    let told: string | undefined;
    const start = async (): Promise<void> => {
      try {
        await this.#listen();
        clearInterval(this.#waiting);
      } catch (error) {
        const text = errorText(error);
        if (text !== told) this.#options.onTrouble(error);
        told = text;
      }
      this.#starting = undefined;
    };
    // Whatever was planned before goes on meanwhile.
    this.#waiting = setInterval(() => {
      if (this.#files.current() !== undefined) this.#starting ??= start();
    }, this.#options.pollMs ?? 500);
    this.#waiting.unref();
  }

  async #listen(): Promise<void> {
    const material = this.#files.current();
    if (material === undefined || this.#isClosed) return;
    const { socket, access = { mode: 0o600 } } = this.#options;
    const { cert, key, ca } = material;
    const handler = connectNodeAdapter({
      routes: (router) => routePlan(router, this.#daemon, this.#options),
      readMaxBytes,
      interceptors: [onlyTheAgent],
      contextValues: ({ socket: peer }) => createContextValues().set(refusedKey, this.#whyRefused(peer as TLSSocket)),
    });
    const server = createSecureServer(
      {
        cert,
        key,
        ca,
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: "TLSv1.3",
        settings: { initialWindowSize: largestFrameWindow },
      },
      guardHandler(handler),
    );
    server.on("connection", (connection: Socket) => {
      this.#connections.add(connection);
      connection.on("close", () => this.#connections.delete(connection));
    });
    // A caller that is killed resets its connection; that ends its session and is nobody's error.
    server.on("session", (session) => session.on("error", () => session.destroy()));
    // Whoever shows no certificate of our authority is cut off; his end says so.
    server.on("tlsClientError", () => undefined);
    try {
      // The caller holds the node's lock: a socket that is there is of a process that is gone.
      await listenOnSocket(server, socket, access);
    } catch (cause) {
      server.close();
      throw new KernelError(`serve plans at ${socket}: ${errorText(cause)}; choose another socket`, {
        code: "internal",
        call: "BIND",
        retry: "when-changed",
        cause,
      });
    }
    this.#server = server;
  }

  /** Connections outlive what was true when they began: each call is looked at. */
  #whyRefused(peer: TLSSocket): string {
    const why = whyNotPeer(peer.getPeerX509Certificate(), agentIdentity, Date.now());
    // After the answer that says why.
    if (why !== undefined) setTimeout(() => peer.destroy(), hangUpMs).unref();
    return why ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#waiting);
    this.#files[Symbol.dispose]();
    await this.#starting;
    const server = this.#server;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const connection of this.#connections) connection.destroy();
    await closed;
    rmSync(this.#options.socket, { force: true });
  }
}

const onlyTheAgent: Interceptor = (next) => (request) => {
  const why = request.contextValues.get(refusedKey);
  if (why === "") return next(request);
  throw new ConnectError(`drive this daemon: refused: ${why}`, Code.PermissionDenied);
};
