import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";

/** Stands between a client and a server on loopback, and breaks connections in every way there is. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [client: Socket, server: Socket]>();
  #isClosed = false;
  #delayMs = 0;
  /** Connections that were made. */
  accepted = 0;

  private constructor(targetPort: number) {
    this.#server = createServer((client) => this.#accept(client, targetPort));
  }

  static async start(target: string): Promise<TcpProxy> {
    const proxy = new TcpProxy(Number(new URL(target).port));
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Breaks all connections; new ones are made. */
  cut(): void {
    for (const [client, server] of this.#pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  }

  /** New connections are broken at once too, until `open`. */
  close(): void {
    this.#isClosed = true;
    this.cut();
  }

  open(): void {
    this.#isClosed = false;
  }

  /** Connections that are there stay and nothing comes over them any more: half-open. New ones work. */
  hold(): void {
    for (const [client, server] of this.#pairs) {
      client.pause().removeAllListeners("data");
      server.pause().removeAllListeners("data");
    }
  }

  /** Everything that the server sends comes so much later. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket, targetPort: number): void {
    this.accepted += 1;
    if (this.#isClosed) return void client.resetAndDestroy();
    const server = connect(targetPort, "127.0.0.1");
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    client
      .on("error", end)
      .on("close", end)
      .on("data", (bytes) => server.write(bytes));
    server.on("error", end).on("close", end);
    // In their order, also when the delay changes.
    let last = Promise.resolve();
    server.on("data", (bytes) => {
      const dueMs = performance.now() + this.#delayMs;
      last = last.then(async () => {
        const waitMs = dueMs - performance.now();
        if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
        if (client.writable) client.write(bytes);
      });
    });
  }
}
