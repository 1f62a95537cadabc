import { Agent, ProxyAgent } from "undici";
import type { Dispatcher } from "undici";
import type { ClusterAccess, Proof } from "./access.ts";

const connectTimeoutMs = 10_000;

/** A pool of connections that prove who we are by `proof`. */
export function makeDispatcher(access: ClusterAccess, { certificate, ca = access.tls.ca }: Proof): Dispatcher {
  const { tls } = access;
  const secure = {
    ...(ca === undefined ? {} : { ca }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    ...(tls.isInsecure === true ? { rejectUnauthorized: false } : {}),
    ...(certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }),
    timeout: connectTimeoutMs,
  };
  const allowH2 = access.allowsHttp2 ?? true;
  const pool = {
    allowH2,
    keepAliveTimeout: 30_000,
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
