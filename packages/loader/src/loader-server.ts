import { once } from "node:events";
import { rm } from "node:fs/promises";
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { constants } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextKey, createContextValues, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { listenOnOwnSocket } from "@bpfleet/agent";
import { errorText } from "@bpfleet/base";
import { guardHandler, Loader as LoaderService, LoaderMessageSchema, type LoaderMessage } from "@bpfleet/wire";
import type { BpfdConfig, TlsFiles } from "./bpfd-config.ts";
import { readCredentials, renewCredentials } from "./credentials.ts";
import type { Caller } from "./declaration.ts";
import type { Loader } from "./loader.ts";
import { Refusal, type RefusalCode } from "./refusal.ts";

/** Global data is the largest thing in a request. */
const readMaxBytes = 4 << 20;
const unauthenticated = "16";

const codes: Readonly<Record<RefusalCode, Code>> = {
  aborted: Code.Aborted,
  "invalid-argument": Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  unavailable: Code.Unavailable,
};

const callerKey = createContextKey<Caller | undefined>(undefined);

export interface LoaderServer extends AsyncDisposable {
  /** Of the TCP port, when certificates are configured. */
  readonly port: number | undefined;
}

export interface ServeOptions {
  readonly renewMs?: number;
  readonly onNotice?: (notice: string) => void;
}

/**
 * Serves bpfd's API: by TCP to clients with a certificate of the configured authority, and on a unix socket that only
 * its owner may open. Certificates are read again every `renewMs`. Throws, and serves nothing, when a file or an address cannot be used.
 */
export async function serveLoader(
  loader: Loader,
  config: BpfdConfig,
  { renewMs = 60_000, onNotice = () => undefined }: ServeOptions = {},
): Promise<LoaderServer> {
  await using closing = new AsyncDisposableStack();
  const options = { routes: (router: ConnectRouter) => routeLoader(router, loader), readMaxBytes } as const;
  const only = { grpc: true, grpcWeb: false, connect: false } as const;
  const local: Caller = { name: "unix", isAdministrator: true };
  const contextValues = () => createContextValues().set(callerKey, local);
  const unix = createServer(guardHandler(connectNodeAdapter({ ...options, ...only, contextValues })));
  const taken = `serve ${config.unix}: another process answers there; stop it, or set grpc.endpoint.unix`;
  await listenOnOwnSocket(unix, config.unix, taken);
  closing.defer(() => rm(config.unix, { force: true }));
  closing.use(closingOf(unix));
  let port: number | undefined;
  if (config.tls !== undefined) {
    const tcp = await createTlsServer(config.tls, config, { renewMs, onNotice }, (contextValues) =>
      guardHandler(connectNodeAdapter({ ...options, ...only, contextValues })),
    );
    const sessions = closingOf(tcp);
    tcp.listen(config.port, config.address);
    try {
      await once(tcp, "listening");
    } catch (cause) {
      throw new Error(
        `serve [${config.address}]:${config.port}: ${errorText(cause)}; stop the other one, or set grpc.endpoint`,
        {
          cause,
        },
      );
    }
    closing.use(sessions);
    port = (tcp.address() as AddressInfo).port;
  }
  const owned = closing.move();
  return { port, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function routeLoader(router: ConnectRouter, loader: Loader): void {
  const answer = async (
    request: LoaderMessage,
    caller: Caller | undefined,
    work: (bytes: Uint8Array, caller: Caller) => Promise<Uint8Array>,
  ): Promise<LoaderMessage> => {
    try {
      if (caller === undefined) throw new Refusal("unauthenticated", "no client certificate");
      return fromBinary(LoaderMessageSchema, await work(toBinary(LoaderMessageSchema, request), caller));
    } catch (error) {
      // Nobody but the client can do something about it; bpfd said ABORTED to whatever happened.
      throw new ConnectError(errorText(error), error instanceof Refusal ? codes[error.code] : Code.Aborted);
    }
  };
  router.service(LoaderService, {
    load: (request, { values, signal }) =>
      answer(request, values.get(callerKey), (bytes, caller) => loader.load(bytes, caller, signal)),
    unload: (request, { values }) =>
      answer(request, values.get(callerKey), (bytes, caller) => loader.unload(bytes, caller)),
    list: (request, { values }) =>
      answer(request, values.get(callerKey), (bytes, caller) => loader.list(bytes, caller)),
  });
}

type Adapter = (
  contextValues: (request: unknown) => ReturnType<typeof createContextValues>,
) => (request: Http2ServerRequest, response: Http2ServerResponse) => void;

const demands = { requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.2" } as const;

async function createTlsServer(
  files: TlsFiles,
  { administrators }: BpfdConfig,
  renewal: Required<ServeOptions>,
  adapt: Adapter,
): Promise<Http2SecureServer> {
  let current = await readCredentials(files);
  const callers = new WeakMap<Http2ServerRequest, Caller>();
  const handle = adapt((request) => createContextValues().set(callerKey, callers.get(request as Http2ServerRequest)));
  // Who has no certificate is told so in gRPC's words, before anything of his is read. A ticket carries no chain.
  const server = createSecureServer({ ...current.tls, ...demands, secureOptions: constants.SSL_OP_NO_TICKET });
  server.on("request", (request, response) => {
    const name = commonName(request.stream.session?.socket as TLSSocket | undefined, current.authorities);
    if (name === undefined) {
      const message = encodeURIComponent(
        "exactly one client certificate of this authority, with a common name, is needed",
      );
      const headers = { ":status": 200, "content-type": "application/grpc+proto" };
      request.stream.respond(
        { ...headers, "grpc-status": unauthenticated, "grpc-message": message },
        { endStream: true },
      );
      return;
    }
    callers.set(request, { name: `CN=${name}`, isAdministrator: administrators.includes(name) });
    handle(request, response);
  });
  const renewing = renewCredentials(files, current, {
    ...renewal,
    onRenewed: (fresh) => {
      server.setSecureContext({ ...fresh.tls, secureOptions: constants.SSL_OP_NO_TICKET });
      current = fresh;
    },
  });
  server.once("close", () => renewing[Symbol.dispose]());
  return server;
}

/** Of the one certificate that an authority of ours issued itself. */
function commonName(socket: TLSSocket | undefined, authorities: ReadonlySet<string>): string | undefined {
  if (socket?.authorized !== true) return undefined;
  const leaf = socket.getPeerCertificate(true);
  if (!authorities.has(leaf.issuerCertificate?.fingerprint256 ?? "")) return undefined;
  const name: unknown = leaf.subject?.CN;
  return typeof name === "string" && name !== "" ? name : undefined;
}

function closingOf(server: Http2Server | Http2SecureServer): AsyncDisposable {
  const sessions = new Set<ServerHttp2Session>();
  const onSession = (session: ServerHttp2Session): void => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => session.destroy());
  };
  server.on("session", onSession);
  return {
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}
