import { LineProcess } from "./line-process.ts";

const script = new URL("./traffic-end.ts", import.meta.url).pathname;

/** Numbers of packets by source. */
export type Numbers = Readonly<Record<string, readonly number[]>>;

/** Numbered UDP packets from several sources of one namespace to an address in another, a packet a millisecond from each. */
export class Traffic implements AsyncDisposable {
  readonly #receiver: LineProcess;
  readonly #sender: LineProcess;

  private constructor(receiver: LineProcess, sender: LineProcess) {
    this.#receiver = receiver;
    this.#sender = sender;
  }

  static async start(from: string, sources: readonly string[], to: string, address: string): Promise<Traffic> {
    const receiver = await startEnd(to, ["receive", address]);
    return new Traffic(receiver, await startEnd(from, ["send", address, ...sources]));
  }

  async stop(): Promise<{ readonly sent: Numbers; readonly received: Numbers }> {
    const sent = await stopEnd(this.#sender);
    return { sent, received: await stopEnd(this.#receiver) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#sender[Symbol.asyncDispose](), this.#receiver[Symbol.asyncDispose]()]);
  }
}

async function startEnd(netns: string, args: readonly string[]): Promise<LineProcess> {
  const end = new LineProcess(netns, script, args);
  if ((await end.read()) !== "ready")
    throw new Error(`start traffic: ${args.join(" ")} does not get ready:\n${end.log}`);
  return end;
}

async function stopEnd(end: LineProcess): Promise<Numbers> {
  end.close();
  return JSON.parse((await end.read()) ?? "{}") as Numbers;
}
