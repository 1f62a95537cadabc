import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { listenOnSocket } from "../api/unix-socket.ts";
import { parseQuestion, type Announcement, type CniAnswer, type Question } from "./announcement.ts";

/** Whom the plug-in asks. */
export interface CniHost {
  /** Resolves when the interface was looked for. */
  announce(announced: Announcement): Promise<void>;
  withdraw(attachment: Pick<Announcement, "container" | "ifname">): void;
  keepOnly(valid: readonly Pick<Announcement, "container" | "ifname">[]): void;
  /** No process of the pod runs before it is answered. */
  admit(announced: Announcement, timeoutMs: number, signal: AbortSignal): Promise<CniAnswer>;
  wait(announced: Announcement, timeoutMs: number, signal: AbortSignal): Promise<CniAnswer>;
}

export interface CniServerOptions {
  readonly socket: string;
  readonly host: CniHost;
  readonly onAnswer: (question: Question, answer: CniAnswer, ms: number) => void;
}

/** Beside the socket of the API. */
export function cniSocketOf(socket: string): string {
  return `${socket.replace(/\.sock$/, "")}-cni.sock`;
}

/** Results of plug-ins are small; a longer question is none. */
const longestQuestion = 1 << 20;
const patienceMs = 5000;

/** Answers `bpfleet-cni`: one question a connection, whose end is the end of the question. */
export class CniServer implements AsyncDisposable {
  readonly #options: CniServerOptions;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(options: CniServerOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#open.add(socket);
      socket.on("close", () => this.#open.delete(socket));
      // Whoever hangs up wants no answer.
      socket.on("error", () => socket.destroy());
      this.#serve(socket).catch(() => socket.destroy());
    });
  }

  /** The lock of the state directory says that no other daemon listens there. */
  static async listen(options: CniServerOptions): Promise<CniServer> {
    const own = new CniServer(options);
    await listenOnSocket(own.#server, options.socket, { mode: 0o600 });
    return own;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#open) socket.destroy();
    await closed;
    rmSync(this.#options.socket, { force: true });
  }

  async #serve(socket: Socket): Promise<void> {
    const begun = performance.now();
    const gone = new AbortController();
    socket.on("close", () => gone.abort());
    const text = await readAll(socket);
    if (text === undefined)
      return refuse(
        socket,
        `the question is longer than ${longestQuestion} bytes, the most that the daemon reads; look at what the plug-ins before gave (prevResult)`,
      );
    const question = parseQuestion(text);
    if (question === undefined)
      return refuse(socket, "the daemon does not understand the plug-in; run both of one version");
    const answer = await this.#answer(question, gone.signal);
    socket.end(`${JSON.stringify(answer)}\n`);
    this.#options.onAnswer(question, answer, performance.now() - begun);
  }

  async #answer(question: Question, signal: AbortSignal): Promise<CniAnswer> {
    const { host } = this.#options;
    switch (question.command) {
      case "ADD":
        await host.announce(question.announced);
        return host.admit(question.announced, question.timeoutMs, signal);
      case "CHECK":
        // A daemon that was started since knows it by its processes.
        return host.wait({ ...question.announced, namespaceId: undefined }, 0, signal);
      case "DEL":
        host.withdraw(question);
        return { is: "ready" };
      case "GC":
        if (question.valid !== undefined) host.keepOnly(question.valid);
        return { is: "ready" };
      case "STATUS":
        return { is: "ready" };
    }
  }
}

function refuse(socket: Socket, why: string): void {
  socket.end(JSON.stringify({ is: "unknown", why } satisfies CniAnswer));
}

/** `undefined` for what is too long; the rest of it is read past, since who is not heard out hears no answer. */
async function readAll(socket: Socket): Promise<string | undefined> {
  const pieces: Buffer[] = [];
  let length = 0;
  socket.setTimeout(patienceMs, () => socket.destroy());
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    pieces.push(piece as Buffer);
    length += (piece as Buffer).length;
    if (length <= longestQuestion) continue;
    socket.resume();
    setTimeout(() => socket.destroy(), patienceMs).unref();
    return undefined;
  }
  socket.setTimeout(0);
  return Buffer.concat(pieces).toString();
}
