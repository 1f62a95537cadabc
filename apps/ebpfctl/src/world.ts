import { text } from "node:stream/consumers";
import type { Clock } from "@bpfleet/base";

/** Everything a command reads from outside or writes to; tests make their own. */
export interface World {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly out: Output;
  readonly err: Output;
  readonly clock: Clock;
  readStdin(): Promise<string>;
  /** Aborted by SIGINT or SIGTERM when a command asks for it: then it ends in its own way, else the process ends. */
  onInterrupt(): AbortSignal;
}

export interface Output {
  write(text: string): void;
  readonly isTerminal: boolean;
  readonly hasColor: boolean;
}

export const systemClock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

export function processWorld(env: World["env"]): World {
  return {
    env,
    cwd: process.cwd(),
    out: streamOutput(process.stdout, env),
    err: streamOutput(process.stderr, env),
    clock: systemClock,
    readStdin: () => text(process.stdin),
    onInterrupt() {
      const controller = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => controller.abort(signal));
      return controller.signal;
    },
  };
}

function streamOutput(stream: NodeJS.WriteStream, env: World["env"]): Output {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    // Whoever read us has seen enough, as with `| head`.
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  const { isTTY: isTerminal = false } = stream as { readonly isTTY?: boolean };
  return {
    write: (chunk) => void stream.write(chunk),
    isTerminal,
    hasColor: isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb",
  };
}

/** For whoever wants the commands, not their doings. */
export function quietWorld(): World {
  const silence: Output = { write: () => undefined, isTerminal: false, hasColor: false };
  return {
    env: {},
    cwd: "/",
    out: silence,
    err: silence,
    clock: systemClock,
    readStdin: async () => "",
    onInterrupt: () => AbortSignal.abort(),
  };
}
