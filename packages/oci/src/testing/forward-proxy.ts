import { createServer, request as ask, type IncomingMessage } from "node:http";
import { connect, type AddressInfo } from "node:net";
import type { Duplex } from "node:stream";

export interface ForwardProxyOptions {
  /** `user:password` that it wants; none when left out. */
  readonly login?: string;
  /** Names that lead somewhere else: `registry.test` → `127.0.0.1:5000`. */
  readonly hosts?: Readonly<Record<string, string>>;
}

/** A proxy as companies have them: tunnels by CONNECT, and plain HTTP by whole URLs. */
export class ForwardProxy implements AsyncDisposable {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** What it was asked: `CONNECT registry.test:443`, `GET http://…`. */
  readonly asked: readonly string[];
  readonly #close: () => Promise<void>;

  private constructor(host: string, asked: readonly string[], close: () => Promise<void>) {
    this.host = host;
    this.asked = asked;
    this.#close = close;
  }

  static async start({ login, hosts = {} }: ForwardProxyOptions = {}): Promise<ForwardProxy> {
    const asked: string[] = [];
    const open = new Set<Duplex>();
    const wanted = login === undefined ? undefined : `Basic ${Buffer.from(login).toString("base64")}`;
    const mayPass = ({ headers }: IncomingMessage): boolean =>
      wanted === undefined || headers["proxy-authorization"] === wanted;
    const lead = (host: string, port: string): readonly [string, number] => {
      const [to = host, at = port] = (hosts[host] ?? `${host}:${port}`).split(":");
      return [to, Number(at)];
    };
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      if (!mayPass(request)) return void response.writeHead(407, { "proxy-authenticate": "Basic" }).end();
      const url = new URL(request.url ?? "");
      const [host, port] = lead(url.hostname, url.port || "80");
      const { "proxy-authorization": _, ...headers } = request.headers;
      const onward = ask({ host, port, method: request.method, path: `${url.pathname}${url.search}`, headers });
      onward.on("response", (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      onward.on("error", () => response.writeHead(502).end());
      request.pipe(onward);
    });
    server.on("connect", (request, socket: Duplex) => {
      asked.push(`CONNECT ${request.url}`);
      open.add(socket);
      socket.on("error", () => socket.destroy());
      if (!mayPass(request)) return void socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      const [, name = "", at = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(request.url ?? "") ?? [];
      const [host, port] = lead(name, at);
      const onward = connect(port, host, () => {
        socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
        socket.pipe(onward).pipe(socket);
      });
      open.add(onward);
      onward.on("error", () => socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n"));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    return new ForwardProxy(`127.0.0.1:${port}`, asked, async () => {
      for (const socket of open) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
