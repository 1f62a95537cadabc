import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmdirSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { syncAgent } from "@bpfleet/agent";
import { InnerProcess, KernelSandbox } from "@bpfleet/native/testing";

const ebpfctl = join(import.meta.dirname, "../../bin/ebpfctl");

export interface CommandResult {
  readonly exitCode: number | null;
  readonly out: string;
  readonly err: string;
}

/** `ebpfctl up` in a network namespace of its own, with folders, a bpffs and cgroups that go with it. */
export class StandaloneNode implements AsyncDisposable {
  readonly #sandbox: KernelSandbox;
  readonly #cgroups: string[] = [];
  readonly #processes: InnerProcess[] = [];
  readonly #env: NodeJS.ProcessEnv;
  readonly netns: string;
  /** Path of the cgroup that holds those of the pods, below the mount of cgroup v2. */
  readonly slice: string;
  readonly #sliceFolder: string;
  readonly metrics: string;
  readonly bpffs: string;
  readonly agentSocket: string;
  #up: ChildProcess | undefined;

  private constructor(
    sandbox: KernelSandbox,
    sliceFolder: string,
    netns: string,
    bpffs: string,
    env: NodeJS.ProcessEnv,
  ) {
    this.#sandbox = sandbox;
    this.#sliceFolder = sliceFolder;
    this.slice = basename(sliceFolder);
    this.netns = netns;
    this.metrics = join(sandbox.dir, "metrics.sock");
    this.#env = {
      ...process.env,
      BPFLEET_STORE: join(sandbox.dir, "objects"),
      BPFLEET_STATE: join(sandbox.dir, "state"),
      BPFLEET_SOCKET: join(sandbox.dir, "bpfleet.sock"),
      BPFLEET_BPFFS: bpffs,
      BPFLEET_METRICS_ADDR: `unix:${join(sandbox.dir, "metrics.sock")}`,
      ...env,
    };
    this.bpffs = bpffs;
    this.agentSocket = join(sandbox.dir, "bpfleet-agent.sock");
  }

  /** `undefined` where the machine has no cgroup v2. */
  static async make(env: NodeJS.ProcessEnv = {}): Promise<StandaloneNode | undefined> {
    await using made = new AsyncDisposableStack();
    const sandbox = made.use(new KernelSandbox());
    const slice = sandbox.cgroup();
    if (slice === undefined) return undefined;
    const { name } = sandbox.netns();
    const node = new StandaloneNode(sandbox, slice, name, await sandbox.bpffs(), env);
    made.move();
    return node;
  }

  /** Starts `ebpfctl up`; `prelude` runs before it, in a mount namespace of its own. */
  async up(prelude = "", ...flags: readonly string[]): Promise<void> {
    const inside = ["nsenter", `--net=/run/netns/${this.netns}`, ebpfctl, "up", "--log", "error", ...flags];
    const [command = "", ...args] =
      prelude === ""
        ? inside
        : ["unshare", "--mount", "--propagation", "private", "sh", "-ec", `${prelude}; exec "$@"`, "sh", ...inside];
    const child = spawn(command, args, { env: this.#env, stdio: ["ignore", "pipe", "inherit"] });
    this.#up = child;
    let said = "";
    const ready = new Promise<void>((done, fail) => {
      child.stdout.on("data", (chunk) => {
        said += String(chunk);
        if (/^ready in /m.test(said)) done();
      });
      child.once("exit", (code) => fail(new Error(`ebpfctl up ended with ${code}: ${said}`)));
    });
    await ready;
    this.#sandbox.ip(this.netns, "link", "set", "lo", "up");
  }

  /** Of the commands of this node. */
  get environment(): NodeJS.ProcessEnv {
    return this.#env;
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#up;
    this.#up = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  run(argv: readonly string[], input = ""): Promise<CommandResult> {
    return this.#spawn(process.cwd(), argv, input);
  }

  /** From a directory; what is declared was tried when this resolves. */
  async runIn(cwd: string, argv: readonly string[]): Promise<CommandResult> {
    const result = await this.#spawn(cwd, argv, "");
    if (["apply", "delete"].includes(argv[0] ?? "")) await this.tried();
    return result;
  }

  async #spawn(cwd: string, argv: readonly string[], input: string): Promise<CommandResult> {
    const child = spawn(ebpfctl, argv, { cwd, env: this.#env, stdio: ["pipe", "pipe", "pipe"] });
    const texts = { out: "", err: "" };
    child.stdout.on("data", (chunk) => void (texts.out += String(chunk)));
    child.stderr.on("data", (chunk) => void (texts.err += String(chunk)));
    child.stdin.end(input);
    const [exitCode] = (await once(child, "close")) as [number | null];
    return { exitCode, ...texts };
  }

  /** A command that must succeed; its output. What it declares was tried when this resolves. */
  async do(...argv: readonly string[]): Promise<string> {
    const { exitCode, out, err } = await this.run(argv);
    assert.equal(exitCode, 0, `ebpfctl ${argv.join(" ")}: ${out}${err}`);
    if (["apply", "delete"].includes(argv[0] ?? "")) await this.tried();
    return out;
  }

  /** What is declared was tried when this resolves; what must be fetched first may not have come yet. */
  async apply(yaml: string): Promise<string> {
    const { exitCode, out, err } = await this.run(["apply", "-f", "-"], yaml);
    assert.equal(exitCode, 0, `ebpfctl apply: ${out}${err}`);
    await this.tried();
    return out;
  }

  /** Declared is not in force: packets that are sent at once may still meet what was declared before. */
  async tried(): Promise<void> {
    if (this.#up !== undefined) await syncAgent(this.agentSocket);
  }

  /** The status of a program, as soon as `holds` says that it is the one. */
  async status<S>(name: string, holds: (status: S) => boolean): Promise<S> {
    let status: S | undefined;
    for (const end = performance.now() + 30_000; performance.now() < end; await sleep(50)) {
      ({ status } = JSON.parse(await this.do("get", "ebpfprogram", name, "-o", "json")) as { status?: S });
      if (status !== undefined && holds(status)) return status;
    }
    assert.fail(`the status of ${name} did not come: ${JSON.stringify(status, undefined, 2)}`);
  }

  addAddress(...addresses: readonly string[]): void {
    for (const address of addresses) {
      this.#sandbox.ip(this.netns, "address", "add", address, "dev", "lo", ...(address.includes(":") ? ["nodad"] : []));
    }
  }

  makeCgroup(name: string): void {
    mkdirSync(join(this.#sliceFolder, name));
    this.#cgroups.push(name);
  }

  removeCgroup(name: string): void {
    rmdirSync(join(this.#sliceFolder, name));
    this.#cgroups.splice(this.#cgroups.indexOf(name), 1);
  }

  /** A process in the node's network namespace, and in the cgroup when one is given. */
  async process(cgroup?: string): Promise<InnerProcess> {
    const folder = cgroup === undefined ? undefined : join(this.#sliceFolder, cgroup);
    const inner = await InnerProcess.start({ netns: this.netns, cgroup: folder });
    this.#processes.push(inner);
    return inner;
  }

  /** Of all processes that were started inside. */
  async endAll(): Promise<void> {
    for (const inner of this.#processes.splice(0)) await inner[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.endAll();
    await this.run(["cleanup"]);
    for (const name of this.#cgroups.toReversed()) rmdirSync(join(this.#sliceFolder, name));
    await this.#sandbox[Symbol.asyncDispose]();
  }
}
