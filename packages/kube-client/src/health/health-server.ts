import { once } from "node:events";
import { createServer } from "node:http";

/** What a process says of itself; each is asked at each request. */
export interface HealthSource {
  /** Why it should be started anew; `undefined` while it works. */
  readonly whyUnhealthy: () => string | undefined;
  /** Why it does not do its work yet. */
  readonly whyUnready: () => string | undefined;
  /** In the text format of Prometheus. */
  readonly metrics: () => string;
}

export interface HealthServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves /healthz, /readyz and /metrics to the kubelet and Prometheus. */
export async function serveHealth(
  { host, port }: { readonly host?: string | undefined; readonly port: number },
  source: HealthSource,
): Promise<HealthServer> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    try {
      const [status, text] = answer(request.method, request.url, source);
      response
        .writeHead(status, { "content-type": "text/plain; version=0.0.4; charset=utf-8" })
        .end(request.method === "HEAD" ? undefined : text);
    } catch {
      response.destroy();
    }
  });
  server.listen({ port, ...(host !== undefined && { host }) });
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(method: string | undefined, target: string | undefined, source: HealthSource): [number, string] {
  const judge = (why: string | undefined): [number, string] => [why === undefined ? 200 : 503, `${why ?? "ok"}\n`];
  if (method !== "GET" && method !== "HEAD") return [405, ""];
  // Not by URL: what it cannot read it throws at.
  switch (target?.split("?")[0]) {
    case "/healthz":
      return judge(source.whyUnhealthy());
    case "/readyz":
      return judge(source.whyUnready());
    case "/metrics":
      return [200, source.metrics()];
    default:
      return [404, "there are /healthz, /readyz and /metrics\n"];
  }
}
