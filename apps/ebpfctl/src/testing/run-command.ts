import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCli } from "../cli.ts";
import type { Output, World } from "../world.ts";

export interface CommandRun {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** A directory with a store and a state of its own, in which commands run as if from a shell there. */
export class CommandBench implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "ebpfctl-"));
  nowMs = Date.parse("2026-11-21T12:00:00Z");
  readonly env = {
    BPFLEET_STORE: join(this.directory, "objects"),
    BPFLEET_STATE: join(this.directory, "state"),
    BPFLEET_SOCKET: join(this.directory, "run/bpfleet.sock"),
    BPFLEET_BPFFS: join(this.directory, "fs"),
  };

  async run(argv: readonly string[], stdin = ""): Promise<CommandRun> {
    const out: string[] = [];
    const err: string[] = [];
    const capture = (into: string[]): Output => ({
      write: (text) => void into.push(text),
      isTerminal: false,
      hasColor: false,
    });
    const world: World = {
      env: this.env,
      cwd: this.directory,
      out: capture(out),
      err: capture(err),
      clock: { now: () => this.nowMs, monotonicMs: () => performance.now() },
      readStdin: async () => stdin,
      onInterrupt: () => AbortSignal.abort(),
    };
    const exitCode = await runCli(argv, world);
    const plain = (text: string) => text.replaceAll(this.directory, "DIR");
    return { exitCode, out: plain(out.join("")), err: plain(err.join("")) };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
