import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Evaluated in the process: runs what it is sent, and answers with what that returns. */
const body = `
  process.on("disconnect", () => process.exit(0));
  process.on("message", async ({ id, code, arg }) => {
    try {
      const value = await (0, eval)("(" + code + ")")(arg);
      process.send({ id, value });
    } catch (error) {
      process.send({ id, error: { message: String(error?.message ?? error), code: error?.code } });
    }
  });
  process.send({ id: -1 });
`;

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly message: string; readonly code?: string };
}

export interface InnerPlace {
  /** Name of a network namespace. */
  readonly netns?: string | undefined;
  /** Folder of a cgroup of version 2. */
  readonly cgroup?: string | undefined;
}

/** A real process in a network namespace and a cgroup, which runs functions of the test. */
export class InnerProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #sent = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", ({ id, value, error }: Answer) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(Object.assign(new Error(error.message), { code: error.code }));
    });
    child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the process ended"));
    });
  }

  static async start({ netns, cgroup }: InnerPlace): Promise<InnerProcess> {
    const node = [process.execPath, "--input-type=commonjs", "-e", body];
    const [command = "", ...args] = netns === undefined ? node : ["nsenter", `--net=/run/netns/${netns}`, ...node];
    const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const inner = new InnerProcess(child);
    const ready = Promise.withResolvers<unknown>();
    inner.#waiting.set(-1, ready);
    await ready.promise;
    if (cgroup !== undefined) inner.enter(cgroup);
    return inner;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Moves to a cgroup; sockets that are open already stay with the one they were opened in. */
  enter(cgroup: string): void {
    writeFileSync(join(cgroup, "cgroup.procs"), String(this.pid));
  }

  /** Runs a function there. It sees only its argument and what it imports; errors keep their `code`. */
  async run<A, R>(work: (arg: A) => R | Promise<R>, arg: A): Promise<R> {
    const id = this.#sent++;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#child.send({ id, code: work.toString(), arg });
    return (await answer.promise) as R;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}
