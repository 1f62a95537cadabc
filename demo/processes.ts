import { execFile, execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { basename, join } from "node:path";
import { inNamespace, pods, server } from "./network.ts";

const run = promisify(execFile);
const here = import.meta.dirname;
export const ebpfctlPath = join(here, "..", "bin", "ebpfctl");

/** What `ebpfctl` printed. Rejects with its own words when it fails. */
export async function ebpfctl(...argv: readonly string[]): Promise<string> {
  const { stdout } = await run(ebpfctlPath, [...argv], { maxBuffer: 16 << 20 });
  return stdout;
}

export async function ebpfctlJson<T>(...argv: readonly string[]): Promise<T> {
  return JSON.parse(await ebpfctl(...argv, "-o", "json")) as T;
}

/** Packets that arrived at the server, by source address, renewed four times a second. */
export class Receiver implements Disposable {
  readonly #child: ChildProcess;
  #counts: Record<string, number> = {};

  constructor() {
    const [command, argv] = inNamespace("server", [process.execPath, join(here, "receiver.ts"), String(server.port)]);
    this.#child = spawn(command, argv, { stdio: ["ignore", "pipe", "inherit"] });
    if (this.#child.stdout) {
      createInterface(this.#child.stdout).on("line", (line) => {
        this.#counts = JSON.parse(line) as Record<string, number>;
      });
    }
  }

  arrivedFrom(address: string): number {
    return this.#counts[address] ?? 0;
  }

  /** Resolves when nothing has arrived for half a second. */
  async quiet(): Promise<void> {
    for (let before = -1, now = this.#total(); before !== now; before = now, now = this.#total()) await sleep(500);
  }

  #total(): number {
    return Object.values(this.#counts).reduce((sum, count) => sum + count, 0);
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

export interface Sent {
  readonly sent: number;
  /** A busy machine sends more slowly than it is asked to. */
  readonly tookSeconds: number;
}

/** Sends from a client's address; resolves when all packets have left. */
export async function send(from: string, packetsPerSecond: number, seconds: number): Promise<Sent> {
  const argv = [
    process.execPath,
    join(here, "sender.ts"),
    from,
    server.address,
    String(server.port),
    String(packetsPerSecond),
    String(seconds),
  ];
  const { stdout } = await run(...inNamespace("clients", argv));
  return JSON.parse(stdout) as Sent;
}

interface Explained {
  readonly packets: readonly {
    readonly hooks: readonly { readonly steps: readonly { readonly decision?: Decided }[] }[];
  }[];
}

interface Decided {
  readonly text: string;
  readonly rule?: {
    readonly origin: {
      readonly object: { readonly kind: string; readonly name: string };
      readonly position?: { readonly file: string; readonly line: number };
    };
  };
}

/** What `ebpfctl explain` says of a packet; a dropped packet is its exit code 3. */
export function explain(iface: string, direction: "ingress" | "egress", packet: readonly string[]): Promise<string> {
  const argv = ["explain", "--interface", iface, "--direction", direction, ...packet];
  return run(ebpfctlPath, argv).then(
    ({ stdout }) => stdout,
    (error: { readonly code: number; readonly stdout: string; readonly stderr: string }) => {
      if (error.code !== 3) throw new Error(`ebpfctl explain: ${error.stderr}`);
      return error.stdout;
    },
  );
}

/** Who would drop a packet from this address, in the words of `ebpfctl explain`, with the line of YAML. */
export async function explainDrop(from: string): Promise<string> {
  const packet = ["--from", from, "--to", server.address, "--proto", "udp", "--dport", String(server.port)];
  const explained = await explain("eth0", "ingress", [...packet, "-o", "json"]);
  const steps = (JSON.parse(explained) as Explained).packets.flatMap(({ hooks }) =>
    hooks.flatMap((hook) => hook.steps),
  );
  const decision = steps.find((step) => step.decision?.rule)?.decision;
  const origin = decision?.rule?.origin;
  if (!decision || !origin) return "explain names no rule";
  const where = origin.position ? ` (${basename(origin.position.file)}:${origin.position.line})` : "";
  return `${decision.text}: ${origin.object.kind} ${origin.object.name}${where}`;
}

/** What listens in the pod `db`. */
export class Servers implements Disposable {
  readonly #child: ChildProcess;

  constructor(ports: readonly number[]) {
    const [command, argv] = inNamespace("db", [process.execPath, join(here, "answer.ts"), ...ports.map(String)]);
    this.#child = spawn(command, argv, { stdio: ["ignore", "pipe", "inherit"] });
  }

  async ready(): Promise<void> {
    if (this.#child.stdout) await once(this.#child.stdout, "data");
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

/** Whether the pod `db` answers the pod `web` within a second and a half. */
export async function ask(port: number): Promise<boolean> {
  const argv = [process.execPath, join(here, "ask.ts"), pods.db.address, String(port), "1500"];
  const { stdout } = await run(...inNamespace("web", argv));
  return JSON.parse(stdout) as boolean;
}

export function bpftool(argv: readonly string[]): void {
  execFileSync("bpftool", argv, { stdio: ["ignore", "ignore", "inherit"] });
}
