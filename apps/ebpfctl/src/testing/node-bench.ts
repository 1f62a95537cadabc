import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCaptured, type CommandRun } from "./run-command.ts";

const ebpfctl = join(import.meta.dirname, "../../../../bin/ebpfctl");
const [nodeMac, clientMac] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
/** The first one is of the network between the two. */
const clientAddresses = ["10.0.0.2", "10.10.10.7", "192.168.1.100", "203.0.113.9"];
const longestTestSeconds = "300";

/**
 * A small world of its own: a node with `eth0` and a client behind it, in namespaces that end with their
 * processes. The node's /sys/fs/bpf is a bpffs that nobody else sees.
 */
export class NodeBench implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "bpfleet-ebpfctl-"));
  readonly env = {
    ...process.env,
    BPFLEET_STORE: join(this.directory, "objects"),
    BPFLEET_STATE: join(this.directory, "state"),
    BPFLEET_SOCKET: join(this.directory, "bpfleet.sock"),
    BPFLEET_BPFFS: join(this.directory, "fs"),
  };
  readonly #node: ChildProcess;
  readonly #client: ChildProcess;
  readonly #children = new Set<ChildProcess>();

  private constructor(node: ChildProcess, client: ChildProcess) {
    this.#node = node;
    this.#client = client;
  }

  static async start(): Promise<NodeBench> {
    const holder = () =>
      spawn("unshare", ["--net", "--mount", "--propagation", "private", "sleep", longestTestSeconds], {
        stdio: "ignore",
      });
    const bench = new NodeBench(holder(), holder());
    await bench.#waitForNamespaces();
    mkdirSync(bench.env.BPFLEET_BPFFS);
    bench.onNode("mount", "-t", "bpf", "bpf", "/sys/fs/bpf");
    bench.onNode("mount", "-t", "bpf", "bpf", bench.env.BPFLEET_BPFFS);
    bench.onNode("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", `${bench.#client.pid}`);
    // Without IPv6 and ARP nothing but the test sends packets.
    const quiet = "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done";
    bench.onNode("sh", "-c", quiet);
    bench.onClient("sh", "-c", quiet);
    bench.onNode("ip", "addr", "add", "10.0.0.1/24", "dev", "eth0");
    for (const [at, address] of clientAddresses.entries()) {
      bench.onClient("ip", "addr", "add", `${address}/${at === 0 ? 24 : 32}`, "dev", "eth0");
    }
    bench.onNode("ip", "link", "set", "lo", "up");
    bench.onNode("ip", "link", "set", "eth0", "up");
    bench.onClient("ip", "link", "set", "eth0", "up");
    for (const route of ["10.10.10.0/24", "192.168.1.100/32", "203.0.113.0/24"])
      bench.onNode("ip", "route", "add", route, "dev", "eth0");
    bench.onNode("ip", "link", "set", "eth0", "address", nodeMac);
    bench.onClient("ip", "link", "set", "eth0", "address", clientMac);
    bench.onClient("ip", "neigh", "replace", "10.0.0.1", "lladdr", nodeMac, "dev", "eth0", "nud", "permanent");
    for (const address of clientAddresses) {
      bench.onNode("ip", "neigh", "replace", address, "lladdr", clientMac, "dev", "eth0", "nud", "permanent");
    }
    return bench;
  }

  /** Runs in the node's namespaces; its output. */
  onNode(...command: readonly string[]): string {
    return inNamespaces(this.#node, command);
  }

  onClient(...command: readonly string[]): string {
    return inNamespaces(this.#client, command);
  }

  /** How many of three echo requests from this address are answered. */
  ping(from: string): number {
    const { stdout } = spawnSync(
      "nsenter",
      [
        "-t",
        `${this.#client.pid}`,
        "-n",
        "ping",
        "-n",
        "-q",
        "-c",
        "3",
        "-i",
        "0.05",
        "-W",
        "1",
        "-I",
        from,
        "10.0.0.1",
      ],
      { encoding: "utf8" },
    );
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? assert.fail(`ping said: ${stdout}`));
  }

  /** Datagrams from this address that reach a socket on the node. */
  async sendDatagrams(from: string, number: number): Promise<number> {
    const receiver = `const s=require("dgram").createSocket("udp4");let n=0;s.on("message",()=>n++);s.bind(5000,"10.0.0.1",()=>console.log("ready"));process.stdin.on("data",()=>{console.log(n);process.exit()})`;
    const sender = `const s=require("dgram").createSocket("udp4");s.bind(0,process.argv[1],()=>{let n=${number};const next=()=>n--?s.send("x",5000,"10.0.0.1",()=>setTimeout(next,1)):setTimeout(()=>s.close(),50);next()})`;
    const child = spawn("nsenter", ["-t", `${this.#node.pid}`, "-n", process.execPath, "-e", receiver], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#children.add(child);
    await once(child.stdout, "data");
    this.onClient(process.execPath, "-e", sender, from);
    const answered = once(child.stdout, "data");
    child.stdin.write("\n");
    const [answer] = (await answered) as [Buffer];
    this.#children.delete(child);
    return Number(answer.toString());
  }

  /** Runs a command as a user does anywhere on the machine; it reaches the node by its socket. */
  run(...argv: readonly string[]): Promise<CommandRun> {
    return runCaptured(argv, { env: this.env, cwd: this.directory, nowMs: () => Date.now() });
  }

  /** The same, which must succeed; its output. */
  async do(...argv: readonly string[]): Promise<string> {
    const { exitCode, out, err } = await this.run(...argv);
    assert.equal(exitCode, 0, `ebpfctl ${argv.join(" ")}: ${out}${err}`);
    return out;
  }

  /** A command that goes on, in the node's namespaces. */
  spawn(...argv: readonly string[]): RunningCommand {
    const child = spawn("nsenter", ["-t", `${this.#node.pid}`, "-n", "-m", ebpfctl, ...argv], {
      env: this.env,
      cwd: this.directory,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return new RunningCommand(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [...this.#children, this.#node, this.#client]) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** `unshare` becomes `sleep` when the namespaces are there. */
  async #waitForNamespaces(): Promise<void> {
    for (const { pid } of [this.#node, this.#client]) {
      const end = performance.now() + 5000;
      while (readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "sleep") {
        assert.ok(performance.now() < end, "no namespaces within 5 s");
        await sleep(5);
      }
    }
  }
}

export class RunningCommand {
  readonly #child: ChildProcess;
  out = "";
  err = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (chunk: Buffer) => (this.out += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (this.err += chunk.toString()));
  }

  /** Waits until it has printed this. */
  async says(pattern: RegExp): Promise<void> {
    const end = performance.now() + 20_000;
    while (!pattern.test(this.out)) {
      assert.ok(this.#child.exitCode === null, `it ended: ${this.out}${this.err}`);
      assert.ok(performance.now() < end, `it did not say ${pattern} within 20 s: ${this.out}${this.err}`);
      await sleep(10);
    }
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    return this.ended();
  }

  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    return this.#child.exitCode;
  }
}

function inNamespaces({ pid }: ChildProcess, command: readonly string[]): string {
  return execFileSync("nsenter", ["-t", `${pid}`, "-n", "-m", ...command], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 2 ** 28,
  });
}
