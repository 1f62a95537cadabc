import { execFile, execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Delivery {
  readonly polled: number;
  readonly seconds: number;
  /** CPU time of the receiving interface's kernel thread. */
  readonly busyNs: number;
}

/**
 * Two namespaces on a veth pair: `sender` pushes frames, `receiver` has eth0 whose packets are
 * polled by one kernel thread, so that its CPU time is what receiving costs.
 */
export class VethPair implements Disposable {
  readonly sender: string;
  readonly receiver: string;
  readonly ifindex: number;
  readonly #poller: number;
  readonly #remove = (): void => this[Symbol.dispose]();

  constructor(name: string) {
    this.sender = `${name}-s`;
    this.receiver = `${name}-r`;
    process.on("exit", this.#remove);
    for (const netns of [this.sender, this.receiver]) execFileSync("ip", ["netns", "add", netns]);
    try {
      execFileSync("ip", [
        "-n",
        this.receiver,
        "link",
        "add",
        "eth0",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        this.sender,
      ]);
      this.inReceiver(
        "sh",
        "-c",
        "ethtool -K eth0 gro on && ip address add 10.0.0.2/8 dev eth0 && ip link set eth0 up",
      );
      const before = pollers();
      execFileSync("ip", ["-n", this.sender, "link", "set", "eth0", "up"]);
      this.inReceiver("sh", "-c", "echo 1 >/sys/class/net/eth0/threaded");
      const poller = pollers().find((pid) => !before.includes(pid));
      if (poller === undefined) throw new Error("start the polling thread of eth0: none appeared");
      this.#poller = poller;
      execFileSync("taskset", ["-pc", "1", String(poller)], { stdio: "ignore" });
      this.ifindex = Number(this.inReceiver("cat", "/sys/class/net/eth0/ifindex"));
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  inReceiver(command: string, ...argv: readonly string[]): string {
    return execFileSync("ip", ["netns", "exec", this.receiver, command, ...argv], {
      encoding: "utf8",
      maxBuffer: 64 << 20,
    });
  }

  /** Sends `frames` from the addresses and says what receiving them took. */
  async deliver(generator: string, frames: number, sources: readonly number[], scratchDir: string): Promise<Delivery> {
    const file = join(scratchDir, "sources.bin");
    const bytes = Buffer.alloc(4096 * 4);
    for (let index = 0; index < 4096; index++) bytes.writeUInt32BE(sources[index % sources.length] ?? 0, index * 4);
    writeFileSync(file, bytes);
    const out = execFileSync("ip", ["-n", this.sender, "-j", "link", "show", "eth0"], { encoding: "utf8" });
    const { ifindex } = (JSON.parse(out) as { ifindex: number }[])[0] ?? { ifindex: 0 };
    const [polledBefore, busyBefore] = [this.#polled(), this.#busyNs()];
    const argv = [
      "netns",
      "exec",
      this.sender,
      process.execPath,
      join(import.meta.dirname, "generator.ts"),
      generator,
      String(ifindex),
      String(frames),
      file,
    ];
    const { stdout } = await run("ip", argv);
    const { seconds } = JSON.parse(stdout) as { seconds: number };
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { polled: this.#polled() - polledBefore, busyNs: this.#busyNs() - busyBefore, seconds };
  }

  #polled(): number {
    const line = /rx_queue_0_xdp_packets: (\d+)/.exec(this.inReceiver("ethtool", "-S", "eth0"));
    return Number(line?.[1] ?? Number.NaN);
  }

  #busyNs(): number {
    return Number(readFileSync(`/proc/${this.#poller}/schedstat`, "utf8").split(" ")[0]);
  }

  [Symbol.dispose](): void {
    process.off("exit", this.#remove);
    for (const netns of [this.sender, this.receiver]) {
      try {
        execFileSync("ip", ["netns", "del", netns], { stdio: "ignore" });
      } catch {
        // It was never made.
      }
    }
  }
}

/** Kernel threads that poll some eth0. */
function pollers(): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("napi/eth0");
      } catch {
        return false;
      }
    });
}
