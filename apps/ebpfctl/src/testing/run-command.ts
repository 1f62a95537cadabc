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
    const { exitCode, out, err } = await runCaptured(argv, {
      env: this.env,
      cwd: this.directory,
      nowMs: () => this.nowMs,
      stdin,
    });
    const plain = (text: string) => text.replaceAll(this.directory, "DIR");
    return { exitCode, out: plain(out), err: plain(err) };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface Surroundings {
  readonly env: World["env"];
  readonly cwd: string;
  readonly nowMs: () => number;
  readonly stdin?: string | undefined;
}

/** Runs a command in this process, as main.ts does. */
export async function runCaptured(
  argv: readonly string[],
  { env, cwd, nowMs, stdin }: Surroundings,
): Promise<CommandRun> {
  const out: string[] = [];
  const err: string[] = [];
  const capture = (into: string[]): Output => ({
    write: (text) => void into.push(text),
    isTerminal: false,
    hasColor: false,
  });
  const exitCode = await runCli(argv, {
    env,
    cwd,
    out: capture(out),
    err: capture(err),
    clock: { now: nowMs, monotonicMs: () => performance.now() },
    readStdin: async () => stdin ?? "",
    onInterrupt: () => AbortSignal.abort(),
  });
  return { exitCode, out: out.join(""), err: err.join("") };
}
