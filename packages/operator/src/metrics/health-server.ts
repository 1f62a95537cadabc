import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface HealthSource {
  metrics(): string;
  /** Undefined: all is well. Else what is not. */
  unhealthy(): string | undefined;
  unready(): string | undefined;
}

export interface HealthServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves /metrics, /healthz and /readyz. */
export async function serveHealth(
  address: { readonly host?: string | undefined; readonly port: number },
  source: HealthSource,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const answer = (status: number, text: string): void => {
      response.writeHead(status, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
      response.end(request.method === "HEAD" ? undefined : text);
    };
    const judge = (trouble: string | undefined): void =>
      trouble === undefined ? answer(200, "ok\n") : answer(503, `${trouble}\n`);
    if (request.method !== "GET" && request.method !== "HEAD") return answer(405, "");
    switch (pathname) {
      case "/metrics":
        return answer(200, source.metrics());
      case "/healthz":
        return judge(source.unhealthy());
      case "/readyz":
        return judge(source.unready());
      default:
        return answer(404, "there are /metrics, /healthz and /readyz\n");
    }
  });
  server.requestTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: address.port, ...(address.host === undefined ? {} : { host: address.host }) }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
