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

/** Serves /healthz, /readyz and /metrics. */
export async function serveHealth(
  { host, port }: { readonly host?: string | undefined; readonly port: number },
  source: HealthSource,
): Promise<HealthServer> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    const say = (status: number, text: string): void =>
      void response
        .writeHead(status, { "content-type": "text/plain; version=0.0.4; charset=utf-8" })
        .end(request.method === "HEAD" ? undefined : text);
    const judge = (why: string | undefined): void => say(why === undefined ? 200 : 503, `${why ?? "ok"}\n`);
    if (request.method !== "GET" && request.method !== "HEAD") return say(405, "");
    switch (request.url?.split("?")[0]) {
      case "/healthz":
        return judge(source.whyUnhealthy());
      case "/readyz":
        return judge(source.whyUnready());
      case "/metrics":
        return say(200, source.metrics());
      default:
        return say(404, "there are /healthz, /readyz and /metrics\n");
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
