import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";

/** Where the command line keeps its own: many starts then cost less. */
const compileCache = new URL("../../../../build/compile-cache", import.meta.url).pathname;

/** A script of Node in a network namespace that talks in lines. */
export class LineProcess implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  /** How it ended: a signal or an exit code. */
  readonly exit: Promise<string>;
  /** What it wrote to its standard error. */
  log = "";

  /** `limits`: a command that takes rights away and then runs the rest of its line. */
  constructor(netns: string, script: string, args: readonly string[], limits: readonly string[] = []) {
    // Not `ip netns exec`: that one gives the child another /sys, without cgroups.
    this.#child = spawn("nsenter", [`--net=/run/netns/${netns}`, ...limits, process.execPath, script, ...args], {
      env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
    });
    this.exit = new Promise((resolve) => this.#child.on("exit", (code, signal) => resolve(`${signal ?? code}`)));
    // It may die while it is written to.
    this.#child.stdin.on("error", () => {});
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => (this.log += text));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The next line of its standard output; `undefined` when it ended. */
  async read(): Promise<string | undefined> {
    const { done, value } = await this.#lines.next();
    return done === true ? undefined : value;
  }

  write(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Tells it to end. */
  close(): void {
    this.#child.stdin.end();
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    await this.exit;
    clearTimeout(timer);
  }
}
