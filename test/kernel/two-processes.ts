import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { Certificates, until } from "@bpfleet/daemon/testing";
import { KernelSandbox } from "@bpfleet/native/testing";
import { memoryOf, type Memory } from "../../tools/memory-of.ts";

const built = join(import.meta.dirname, "../../build/bpf");
const apps = join(import.meta.dirname, "../../apps");

/** What is run: the sources, or what an image has of them. */
export interface Programs {
  readonly daemon: readonly string[];
  readonly agent: readonly string[];
}

export const sources: Programs = {
  daemon: [process.execPath, join(apps, "daemon/src/main.ts")],
  agent: [process.execPath, join(apps, "agent/src/main.ts")],
};
/** A second; a loaded machine may take its time. */
const startMs = 90_000;
/** Gone with this process, however that dies. */
const withUs = ["setpriv", "--pdeathsig", "KILL"];
/** As in the DaemonSet: the agent has no rights at all. */
const plainUser = 65532;

/** The node's end of the cable that leads to `near`. */
export const target = "10.9.0.2";
/** Sources on the other end. */
export const [blocked, free, other] = ["10.9.0.11", "10.9.0.12", "10.9.0.13"] as const;

/**
 * A daemon and an agent as processes of their own, as in a pod: the daemon in the network namespace `far` of a node, the
 * agent as a user without rights.
 */
export class TwoProcesses implements AsyncDisposable {
  readonly sandbox: KernelSandbox;
  readonly #programs: Programs;
  readonly near: string;
  readonly far: string;
  readonly certificates: Certificates;
  readonly env: Record<string, string | undefined>;
  readonly store: string;
  readonly healthSocket: string;
  readonly #running = new Map<"daemon" | "agent", Running>();
  readonly #killAll = (): void => {
    for (const { child } of this.#running.values()) child.kill("SIGKILL");
  };

  private constructor(bpffs: string, sandbox: KernelSandbox, programs: Programs) {
    this.sandbox = sandbox;
    this.#programs = programs;
    // Before the sandbox goes, which they hold.
    process.prependListener("exit", this.#killAll);
    const { near, far } = sandbox.pair();
    this.near = near.name;
    this.far = far.name;
    for (const address of [blocked, free, other]) sandbox.ip(this.near, "address", "add", `${address}/24`, "dev", "v0");
    const at = (name: string): string => join(sandbox.dir, name);
    chmodSync(sandbox.dir, 0o755);
    for (const folder of ["run", "daemon-state", "agent-state", "objects"]) mkdirSync(at(folder));
    // A build beside the test makes others of them.
    cpSync(built, at("bpf"), { recursive: true });
    for (const folder of ["run", "agent-state", "objects"]) execFileSync("chown", [`${plainUser}`, at(folder)]);
    this.certificates = new Certificates(at("tls"));
    this.issue();
    this.store = at("objects");
    this.healthSocket = at("health");
    this.env = {
      PATH: process.env["PATH"],
      NODENAME: "n1",
      BPFLEET_SOCKET: at("run/bpfleet.sock"),
      BPFLEET_BPFFS: bpffs,
      BPFLEET_OBJECTS: at("bpf/objects.json"),
      BPFLEET_METRICS_ADDR: `unix:${at("metrics.sock")}`,
      LOG_LEVEL: "info",
    };
  }

  static async make(programs: Programs = sources): Promise<TwoProcesses> {
    const sandbox = new KernelSandbox();
    return new TwoProcesses(await sandbox.bpffs(), sandbox, programs);
  }

  /** Certificates for both, as an operator would renew them. */
  issue(validSeconds?: number): void {
    this.certificates.issueDaemon({ validSeconds });
    this.certificates.issueAgent({ validSeconds });
    execFileSync("chmod", ["-R", "a+rX", join(this.sandbox.dir, "tls")]);
  }

  /** Resolves when it `serves`: where its metrics are on a socket, when it answers there. */
  async startDaemon(serves: () => Promise<boolean> = () => this.#servesOnSocket()): Promise<void> {
    const env = { ...this.env, BPFLEET_STATE: join(this.sandbox.dir, "daemon-state") };
    const tls = join(this.sandbox.dir, "tls/daemon/..data");
    const words = [...this.#programs.daemon, "--tls-dir", tls, "--agent-group", `${plainUser}`];
    this.#run("daemon", [...withUs, "nsenter", `--net=/run/netns/${this.far}`, ...words], env);
    const looked = (): Promise<boolean> => {
      this.#mustRun("daemon");
      return serves();
    };
    await until("the daemon serves", looked, startMs);
  }

  async #servesOnSocket(): Promise<boolean> {
    const socketPath = this.env["BPFLEET_METRICS_ADDR"]?.slice("unix:".length) ?? "";
    return (await answerOf({ socketPath, path: "/metrics" })) === 200;
  }

  /** Over the directory, unless `env` says where a cluster is. */
  startAgent(env: Record<string, string | undefined> = { BPFLEET_STORE: this.store }): void {
    const tls = join(this.sandbox.dir, "tls/agent/..data");
    const state = join(this.sandbox.dir, "agent-state");
    const words = [...this.#programs.agent, "--tls-dir", tls];
    const user = [...withUs, `--reuid=${plainUser}`, `--regid=${plainUser}`, "--clear-groups", "--inh-caps=-all"];
    this.#run("agent", [...user, ...words], { ...this.env, BPFLEET_STATE: state, ...env });
  }

  pid(name: "daemon" | "agent"): number {
    return this.#running.get(name)?.child.pid ?? 0;
  }

  /** `setpriv` and `nsenter` become what they start. */
  memory(name: "daemon" | "agent"): Memory {
    return memoryOf(this.pid(name));
  }

  /** What it has said since its start. */
  said(name: "daemon" | "agent"): string {
    return this.#running.get(name)?.log ?? "";
  }

  async stop(name: "daemon" | "agent", signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    const running = this.#running.get(name);
    this.#running.delete(name);
    if (running === undefined) return null;
    running.child.kill(signal);
    await running.ended;
    return running.child.exitCode;
  }

  /** Whether a ping from this source is answered. */
  answers(source: string): boolean {
    const ping = ["netns", "exec", this.near, "ping", "-c", "1", "-W", "1", "-s", "16", "-I", source, target];
    try {
      execFileSync("ip", ping, { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of ["agent", "daemon"] as const) await this.stop(name, "SIGKILL");
    process.off("exit", this.#killAll);
    await this.sandbox[Symbol.asyncDispose]();
  }

  #run(name: "daemon" | "agent", words: readonly string[], env: Record<string, string | undefined>): void {
    const [command = "", ...args] = words;
    const child = spawn(command, args, { env, stdio: ["ignore", "ignore", "pipe"] });
    const running: Running = { child, ended: once(child, "close"), log: "" };
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (running.log += chunk));
    this.#running.set(name, running);
  }

  #mustRun(name: "daemon" | "agent"): void {
    const running = this.#running.get(name);
    if (running?.child.exitCode !== null) throw new Error(`run the ${name}: it ended: ${running?.log}`);
  }
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  log: string;
}

/** Status of an answer; 0 when there is none. */
export async function answerOf(at: { readonly socketPath?: string; readonly port?: number; readonly path: string }) {
  const { promise, resolve } = Promise.withResolvers<number>();
  const asking = request({ ...at, host: "127.0.0.1", timeout: 5000 }, (response) => {
    text(response).then(
      () => resolve(response.statusCode ?? 0),
      () => resolve(0),
    );
  });
  asking.on("error", () => resolve(0)).on("timeout", () => asking.destroy());
  asking.end();
  return promise;
}
