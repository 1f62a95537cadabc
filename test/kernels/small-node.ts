import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmdirSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCaptured, type CommandRun } from "@bpfleet/ebpfctl/testing";
import { InnerProcess, KernelSandbox } from "@bpfleet/native/testing";

const ebpfctl = join(import.meta.dirname, "../../bin/ebpfctl");
/** An emulated machine is some 20 times slower than a real one. */
const patienceMs = 120_000;

/**
 * A node with `eth0` and a client behind it, made to be cheap where every process is dear: the daemon
 * alone is a process, the other commands run in that of the test.
 */
export class SmallNode implements AsyncDisposable {
  readonly #sandbox: KernelSandbox;
  readonly #podFolder: string | undefined;
  readonly #node: string;
  readonly #client: string;
  readonly #env: Readonly<Record<string, string>>;
  #up: ChildProcess | undefined;
  #pod: InnerProcess | undefined;

  private constructor(sandbox: KernelSandbox, node: string, client: string, bpffs: string) {
    this.#sandbox = sandbox;
    this.#node = node;
    this.#client = client;
    const slice = sandbox.cgroup();
    this.#podFolder = slice === undefined ? undefined : join(slice, "web");
    if (this.#podFolder !== undefined) mkdirSync(this.#podFolder);
    this.#env = {
      BPFLEET_STORE: join(sandbox.dir, "objects"),
      BPFLEET_STATE: join(sandbox.dir, "state"),
      BPFLEET_SOCKET: join(sandbox.dir, "bpfleet.sock"),
      BPFLEET_BPFFS: bpffs,
    };
  }

  /** `clients` are addresses behind `eth0`, beside 10.9.0.2. */
  static async make(clients: readonly string[]): Promise<SmallNode> {
    await using made = new AsyncDisposableStack();
    const sandbox = made.use(new KernelSandbox());
    const { near, far } = sandbox.pair();
    sandbox.ip(near.name, "link", "set", "v0", "down");
    sandbox.ip(near.name, "link", "set", "v0", "name", "eth0");
    sandbox.ip(near.name, "link", "set", "eth0", "up");
    for (const client of clients) {
      sandbox.ip(far.name, "address", "add", `${client}/32`, "dev", "v0");
      sandbox.ip(near.name, "route", "add", `${client}/32`, "dev", "eth0");
    }
    const node = new SmallNode(sandbox, near.name, far.name, await sandbox.bpffs());
    made.move();
    return node;
  }

  /** Of its sockets and files, open to whoever knows the way. */
  get directory(): string {
    return this.#sandbox.dir;
  }

  /** Path of the pod's cgroup below the mount of cgroup v2. */
  get podCgroup(): string | undefined {
    return this.#podFolder && `${basename(join(this.#podFolder, ".."))}/web`;
  }

  /** Starts `ebpfctl up`, and ends when it is ready. The node's /sys/fs/bpf is one that nobody else sees. */
  async up(): Promise<void> {
    const inside = `mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf; exec "$@"`;
    const isolation = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", inside, "sh"];
    const child = spawn("nsenter", [`--net=/run/netns/${this.#node}`, ...isolation, ebpfctl, "up", "--log", "error"], {
      env: { ...process.env, ...this.#env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#up = child;
    let said = "";
    await new Promise<void>((done, fail) => {
      child.stdout.on("data", (chunk) => {
        said += String(chunk);
        if (/^ready in /m.test(said)) done();
      });
      child.once("exit", (code) => fail(new Error(`ebpfctl up ended with ${code}: ${said}`)));
    });
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#up;
    this.#up = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  run(argv: readonly string[], stdin = ""): Promise<CommandRun> {
    return runCaptured(argv, { env: this.#env, cwd: this.#sandbox.dir, nowMs: () => Date.now(), stdin });
  }

  /** A command that must succeed; its output. */
  async do(...argv: readonly string[]): Promise<string> {
    const { exitCode, out, err } = await this.run(argv);
    assert.equal(exitCode, 0, `ebpfctl ${argv.join(" ")}: ${out}${err}`);
    return out;
  }

  /** Ends when it is in force. */
  async apply(yaml: string): Promise<string> {
    const words = ["apply", "-f", "-", "--wait", `${patienceMs / 1000}s`];
    const { exitCode, out, err } = await this.run(words, yaml);
    assert.equal(exitCode, 0, `ebpfctl apply: ${out}${err}`);
    return out;
  }

  /** The status of a program, as soon as `holds` says that it is the one. */
  async status<S>(name: string, holds: (status: S) => boolean): Promise<S> {
    let status: S | undefined;
    for (const end = performance.now() + patienceMs; performance.now() < end; await sleep(200)) {
      ({ status } = JSON.parse(await this.do("get", "ebpfprogram", name, "-o", "json")) as { status?: S });
      if (status !== undefined && holds(status)) return status;
    }
    assert.fail(`the status of ${name} did not come: ${JSON.stringify(status, undefined, 2)}`);
  }

  /** How many echo requests from an address of the client are answered. */
  ping(from: string, count = 3): number {
    const words = ["-n", "-q", "-c", `${count}`, "-i", "0.01", "-W", "1", "-I", from, "10.9.0.1"];
    const { stdout } = spawnSync("ip", ["netns", "exec", this.#client, "ping", ...words], { encoding: "utf8" });
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? assert.fail(`ping said: ${stdout}`));
  }

  /** Runs in the network namespace of the node; its output. */
  onNode(...command: readonly string[]): string {
    return execFileSync("ip", ["netns", "exec", this.#node, ...command], { encoding: "utf8" });
  }

  addAddress(address: string): void {
    this.#sandbox.ip(this.#node, "address", "add", address, "dev", "lo");
  }

  /** A process in the pod's cgroup and the node's network. */
  async pod(): Promise<InnerProcess> {
    return (this.#pod ??= await InnerProcess.start({ netns: this.#node, cgroup: this.#podFolder }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGTERM");
    await this.#pod?.[Symbol.asyncDispose]();
    await this.run(["cleanup"]);
    if (this.#podFolder !== undefined) rmdirSync(this.#podFolder);
    await this.#sandbox[Symbol.asyncDispose]();
  }
}
