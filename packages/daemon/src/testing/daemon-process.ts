import { DaemonClient } from "../client.ts";
import { LineProcess } from "./line-process.ts";
import type { Holdings, TestCommand, TestDaemonOptions, TestFilter } from "./run-daemon.ts";

const script = new URL("./run-daemon.ts", import.meta.url).pathname;

interface Settled {
  readonly items: readonly {
    readonly item: string;
    readonly key: string;
    readonly state: string;
    readonly why?: string;
  }[];
}

/** The daemon of `run-daemon.ts` in a network namespace, and what its user would do with it. */
export class DaemonProcess implements AsyncDisposable {
  readonly client: DaemonClient;
  readonly #process: LineProcess;

  private constructor(netns: string, options: TestDaemonOptions) {
    this.#process = new LineProcess(netns, script, [JSON.stringify(options)]);
    this.client = new DaemonClient(options.socket);
  }

  /** Resolves when it is ready; rejects with what it said when it does not start. */
  static async start(netns: string, options: TestDaemonOptions): Promise<DaemonProcess> {
    const daemon = new DaemonProcess(netns, options);
    if ((await daemon.#process.read()) !== undefined) return daemon;
    throw new Error(`start the daemon: it ended (${await daemon.end()}):\n${daemon.log}`);
  }

  get log(): string {
    return this.#process.log;
  }

  /** Hands in what is wanted; resolves with what became of it, or with `undefined` when the daemon died over it. */
  async apply(filters: readonly TestFilter[], complete = true): Promise<Settled["items"] | undefined> {
    this.#process.write(JSON.stringify({ filters, complete } satisfies TestCommand));
    const line = await this.#process.read();
    return line === undefined ? undefined : (JSON.parse(line) as Settled).items;
  }

  /** What it holds when it has looked so often at the kernel and all garbage is collected. */
  async holdingsAfter(looks: number): Promise<Holdings> {
    this.#process.write(JSON.stringify({ ask: "holdings", looks } satisfies TestCommand));
    const line = await this.#process.read();
    if (line === undefined) throw new Error(`ask the daemon: it ended (${await this.end()}):\n${this.log}`);
    return JSON.parse(line) as Holdings;
  }

  /** How it ended: a signal or an exit code. */
  end(): Promise<string> {
    return this.#process.exit;
  }

  kill(): Promise<void> {
    return this.#process.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.#process[Symbol.asyncDispose]();
  }
}
