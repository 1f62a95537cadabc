import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A process that ends with us, however we end; what it prints is in a file. */
export class Running implements AsyncDisposable {
  readonly pid: number;
  readonly ended: Promise<void>;
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #log: string;

  constructor(name: string, logs: string, command: readonly string[]) {
    this.#name = name;
    this.#log = join(logs, `${name}.log`);
    const output = openSync(this.#log, "a");
    // pdeathsig survives the exec of what follows it, nsenter and unshare among it.
    this.#child = spawn("setpriv", ["--pdeathsig", "KILL", ...command], { stdio: ["ignore", output, output] });
    closeSync(output);
    this.pid = this.#child.pid ?? 0;
    this.ended = new Promise((resolve) => this.#child.once("close", () => resolve()).once("error", () => resolve()));
  }

  /** The end of what it printed. */
  tail(): string {
    return readFileSync(this.#log, "utf8").slice(-8192);
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** The answer that is not `false`; throws with the log when the process ends first, or the time does. */
  async until<T>(what: string, ask: () => Promise<T>, withinMs = 120_000): Promise<Exclude<T, false>> {
    const end = performance.now() + withinMs;
    for (;;) {
      const answer = await ask().catch(() => false as const);
      if (answer !== false) return answer as Exclude<T, false>;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`start ${this.#name}: it ended with ${this.#child.exitCode}\n${this.tail()}`);
      if (performance.now() > end)
        throw new Error(`start ${this.#name}: no ${what} after ${withinMs / 1000} s\n${this.tail()}`);
      await sleep(100);
    }
  }
}

/** What a command prints; throws with its error output when it fails. */
export function run(command: readonly string[], { input = "", env = process.env } = {}): Promise<string> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    let [printed, complaint] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (printed += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint += text));
    // Who ends without reading all of it has reasons, and says them.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.once("error", reject);
    child.once("close", (status, signal) => {
      if (status === 0) resolve(printed);
      else reject(new CommandError(command.join(" "), status ?? signal ?? "", printed, complaint));
    });
  });
}

export class CommandError extends Error {
  readonly printed: string;
  readonly complaint: string;

  constructor(command: string, status: number | string, printed: string, complaint: string) {
    super(`${command}: ended with ${status}\n${complaint || printed}`);
    this.printed = printed;
    this.complaint = complaint;
  }
}
