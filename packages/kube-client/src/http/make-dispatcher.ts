import { Agent, ProxyAgent } from "undici";
import type { Dispatcher } from "undici";
import type { ClusterAccess, Proof } from "./access.ts";

const connectTimeoutMs = 10_000;
/** API servers close a connection after 90 s; agents write once a minute. */
const keepAliveTimeout = 75_000;
const mostConnections = 8;

/**
 * A pool of connections that prove who we are by `proof`. Only what sends no body may go by HTTP/2: beside a server
 * that is overloaded Node has ended in an endless loop of empty frames of a body, which takes all memory.
 */
export function makeDispatcher(
  access: ClusterAccess,
  { certificate, ca = access.tls.ca }: Proof,
  sendsBodies: boolean,
): Dispatcher {
  const { tls } = access;
  const secure = {
    ...(ca === undefined ? {} : { ca }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    ...(tls.isInsecure === true ? { rejectUnauthorized: false } : {}),
    ...(certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }),
    timeout: connectTimeoutMs,
  };
  const allowH2 = !sendsBodies && (access.allowsHttp2 ?? true);
  const pool = {
    allowH2,
    keepAliveTimeout: allowH2 ? 30_000 : keepAliveTimeout,
    keepAliveMaxTimeout: keepAliveTimeout,
    ...(sendsBodies && { connections: mostConnections }),
    connectTimeout: connectTimeoutMs,
    ...(allowH2 ? { h2Options: { pingInterval: 20_000 } } : {}),
  };
  if (access.proxyUrl !== undefined)
    return new ProxyAgent({ ...pool, uri: access.proxyUrl, requestTls: secure, proxyTunnel: true });
  return new Agent({ ...pool, connect: { ...secure, keepAlive: true } });
}

/** Whether connections that were made with the one serve the other. */
export function hasSameConnection(a: Proof, b: Proof): boolean {
  return a.ca === b.ca && a.certificate?.cert === b.certificate?.cert && a.certificate?.key === b.certificate?.key;
}
