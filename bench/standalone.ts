import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { mountBpffs, unmount } from "@bpfleet/native";
import { memoryOf, type Memory } from "../tools/memory-of.ts";

const ebpfctl = join(import.meta.dirname, "..", "bin", "ebpfctl");

/** `ebpfctl up` in a network namespace, over directories of its own. */
export class Standalone implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #dir: string;
  /** From the start of the process to its line that says it is ready. */
  readonly startMs: number;

  private constructor(child: ChildProcess, dir: string, startMs: number) {
    this.#child = child;
    this.#dir = dir;
    this.startMs = startMs;
  }

  static async up(netns: string, dir: string): Promise<Standalone> {
    mkdirSync(join(dir, "bpffs"), { recursive: true });
    await mountBpffs(join(dir, "bpffs"));
    const env = {
      ...process.env,
      BPFLEET_STORE: join(dir, "objects"),
      BPFLEET_STATE: join(dir, "state"),
      BPFLEET_SOCKET: join(dir, "bpfleet.sock"),
      BPFLEET_BPFFS: join(dir, "bpffs"),
    };
    const started = performance.now();
    const words = ["--pdeathsig", "KILL", "nsenter", `--net=/run/netns/${netns}`, ebpfctl, "up", "--log", "error"];
    const child = spawn("setpriv", words, { env, stdio: ["ignore", "pipe", "inherit"] });
    await Promise.race([
      once(child.stdout, "data"),
      once(child, "exit").then(() => {
        throw new Error("start ebpfctl up: it ended at once");
      }),
    ]);
    return new Standalone(child, dir, performance.now() - started);
  }

  /** Declares an object as an editor does: a new file in the place of the old one. */
  declare(kind: string, name: string, yaml: string, group = "networking.fos1.io"): void {
    const namespace = group === "networking.fos1.io" ? "default" : "_";
    const path = join(this.#dir, "objects", group, kind, namespace, `${name}.yaml`);
    mkdirSync(dirname(path), { recursive: true });
    const unfinished = join(this.#dir, `${name}.tmp`);
    writeFileSync(unfinished, yaml);
    renameSync(unfinished, path);
  }

  memory(): Memory {
    return memoryOf(this.#child.pid ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill();
    await ended;
    await unmount(join(this.#dir, "bpffs"));
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
