import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const source = join(import.meta.dirname, "../../../packages/native/testdata/send-frames.c");
/** Of no protocol that anybody has. */
const etherType = "0x88b5";
const frameBytes = "64";

/** Sends frames that are not of IP from a pod, which a policy about what it sends drops. */
export class FrameSender {
  readonly #command: readonly string[];

  /** Builds it into `dir`. */
  constructor(dir: string, netns: string) {
    const program = join(dir, "send-frames");
    execFileSync("clang", ["-O2", source, "-o", program]);
    const [{ ifindex }] = JSON.parse(
      execFileSync("ip", ["-n", netns, "-j", "link", "show", "eth0"], { encoding: "utf8" }),
    ) as [{ readonly ifindex: number }];
    this.#command = ["netns", "exec", netns, program, String(ifindex), etherType, frameBytes];
  }

  /** As fast as it can, until it is told to end. */
  start(): Flood {
    return new Flood(this.#command);
  }

  /** Resolves when all are sent, with how many those were: no fewer. */
  async send(count: number): Promise<number> {
    return new Flood([...this.#command, String(count)]).ended;
  }
}

export class Flood {
  readonly #child: ChildProcess;
  /** How many frames the kernel took. */
  readonly ended: Promise<number>;

  constructor(command: readonly string[]) {
    const child = spawn("ip", command, { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    const [said, exit] = [text(child.stdout), once(child, "exit")];
    this.ended = exit.then(async () => Number((await said).trim().split("\n").at(-1)));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  end(): Promise<number> {
    this.#child.kill("SIGTERM");
    return this.ended;
  }
}

/** That a process has taken; the clock of /proc ticks a hundred times a second. */
export function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
