import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { ebpfctlPath } from "./processes.ts";

/** `ebpfctl up`: daemon and agent of the demo's node. */
export class Daemon implements AsyncDisposable {
  readonly #child: ChildProcess;
  /** Resolves when the process has ended. */
  readonly ended: Promise<unknown>;

  private constructor() {
    this.#child = spawn(ebpfctlPath, ["up"], { stdio: ["ignore", "pipe", "inherit"] });
    this.ended = once(this.#child, "exit");
  }

  /** Resolves when it serves, with what it says. Rejects when it ends instead. */
  static async start(): Promise<{ readonly daemon: Daemon; readonly said: string }> {
    const daemon = new Daemon();
    const { stdout } = daemon.#child;
    if (stdout === null) throw new TypeError("start the daemon: its output is not piped");
    const ended = daemon.ended.then(() => Promise.reject(new Error("start the daemon: it ended at once")));
    const [line] = (await Promise.race([once(stdout, "data"), ended])) as [Buffer];
    ended.catch(() => undefined);
    stdout.resume();
    return { daemon, said: line.toString().trim() };
  }

  stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<unknown> {
    this.#child.kill(signal);
    return this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
