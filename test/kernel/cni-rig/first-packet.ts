import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";

/** What came in on a port; times as `process.hrtime.bigint()` has them. */
export interface Received {
  readonly count: number;
  readonly firstNs: bigint;
  readonly lastNs: bigint;
}

export interface Sending {
  readonly netns: string;
  readonly interface: string;
  readonly fromMac: string;
  readonly toMac: string;
  readonly from: string;
  readonly to: string;
  readonly ports: readonly number[];
  /** Folder of a cgroup that it joins first. */
  readonly cgroup?: string | undefined;
}

/** TCP for everybody on the link, of IPv4 or IPv6 as the addresses are. */
export interface Segments {
  readonly netns: string;
  readonly interface: string;
  readonly fromMac: string;
  readonly from: string;
  readonly to: string;
  readonly flags: number;
  readonly fromPort: number;
  readonly ports: readonly number[];
  readonly cgroup?: string | undefined;
}

/** Sends and counts packets (`first-packet.c`, `first-segment.c`). */
export class FirstPackets {
  readonly #program: string;
  readonly #segments: string;

  constructor(folder: string) {
    const [packets, segments] = ["first-packet", "first-segment"].map((name) => {
      const program = join(folder, name);
      execFileSync("cc", ["-O2", "-Wall", "-o", program, join(import.meta.dirname, `${name}.c`)]);
      return program;
    });
    this.#program = packets ?? "";
    this.#segments = segments ?? "";
  }

  /** Returns what ends it. */
  send({ netns, interface: name, fromMac, toMac, from, to, ports, cgroup }: Sending): AsyncDisposable {
    return startIn(netns, cgroup, [this.#program, "send", name, fromMac, toMac, from, to, ...ports.map(String)]);
  }

  sendSegments({
    netns,
    interface: name,
    fromMac,
    from,
    to,
    flags,
    fromPort,
    ports,
    cgroup,
  }: Segments): AsyncDisposable {
    const numbers = [flags, fromPort, ...ports].map(String);
    return startIn(netns, cgroup, [this.#segments, "send", name, fromMac, from, to, ...numbers]);
  }

  receive(netns: string, ports: readonly number[]): Promise<Receiver> {
    return this.#receive(this.#program, netns, ports);
  }

  receiveSegments(netns: string, ports: readonly number[]): Promise<Receiver> {
    return this.#receive(this.#segments, netns, ports);
  }

  async #receive(program: string, netns: string, ports: readonly number[]): Promise<Receiver> {
    const words = [`--net=/run/netns/${netns}`, program, "receive", ...ports.map(String)];
    const child = spawn("nsenter", words, { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    await lines.next();
    return {
      end: async () => {
        child.stdin.end();
        const received = new Map<number, Received>();
        for (let { value, done } = await lines.next(); done !== true; { value, done } = await lines.next()) {
          const [port = "0", count = "0", first = "0", last = "0"] = String(value).split(" ");
          received.set(Number(port), { count: Number(count), firstNs: BigInt(first), lastNs: BigInt(last) });
        }
        return received;
      },
    };
  }
}

export interface Receiver {
  end(): Promise<Map<number, Received>>;
}

/** In the cgroup whose folder is given, from its first system call on. */
export function startIn(netns: string, cgroup: string | undefined, command: readonly string[]): AsyncDisposable {
  const join_ = cgroup === undefined ? "" : 'echo $$ >"$0"; ';
  const words = ["sh", "-c", `${join_}exec "$@"`, cgroup === undefined ? "sh" : join(cgroup, "cgroup.procs")];
  return ending(spawn("nsenter", [`--net=/run/netns/${netns}`, ...words, ...command], { stdio: "inherit" }));
}

function ending(child: ChildProcess): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

export interface PluginRun {
  readonly exitCode: number | null;
  readonly output: string;
  readonly ms: number;
}

/** Runs plug-ins as container runtimes do, in the network namespace of a node. */
export class PluginChain {
  readonly #netns: string;
  readonly #folders: readonly string[];

  /** `folders`: where plug-ins are, the first one that has one counts. */
  constructor(netns: string, folders: readonly string[]) {
    this.#netns = netns;
    this.#folders = folders;
  }

  /** One plug-in, with its configuration as its input. */
  async run(type: string, configuration: object, env: Readonly<Record<string, string>>): Promise<PluginRun> {
    const begun = performance.now();
    const path = this.#folders.join(":");
    const search = 'for d in $(echo "$CNI_PATH" | tr : " "); do [ -x "$d/$0" ] && exec "$d/$0"; done; exit 127';
    const child = spawn("nsenter", [`--net=/run/netns/${this.#netns}`, "sh", "-c", search, type], {
      env: { PATH: process.env["PATH"], CNI_PATH: path, ...env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(JSON.stringify(configuration));
    const [output] = await Promise.all([text(child.stdout), once(child, "close")]);
    return { exitCode: child.exitCode, output, ms: performance.now() - begun };
  }

  /** `ADD` of a list; the runs of its plug-ins, up to the one that failed. */
  async add(list: NetworkList, pod: AttachedPod): Promise<readonly PluginRun[]> {
    const runs: PluginRun[] = [];
    let prevResult: unknown;
    for (const plugin of list.plugins) {
      const { cniVersion, name } = list;
      const configuration = { ...plugin, cniVersion, name, ...(prevResult !== undefined && { prevResult }) };
      const run = await this.run(plugin.type, configuration, variablesOf("ADD", pod));
      runs.push(run);
      if (run.exitCode !== 0) break;
      prevResult = JSON.parse(run.output);
    }
    return runs;
  }

  /** `DEL` of a list, in the order from its end. */
  async delete(list: NetworkList, pod: AttachedPod): Promise<void> {
    for (const plugin of list.plugins.toReversed()) {
      const { cniVersion, name } = list;
      await this.run(plugin.type, { ...plugin, cniVersion, name }, variablesOf("DEL", pod));
    }
  }
}

export interface NetworkList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly ({ readonly type: string } & Readonly<Record<string, unknown>>)[];
}

export interface AttachedPod {
  readonly container: string;
  /** Name of the network namespace. */
  readonly netns: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string | undefined;
}

export function variablesOf(
  command: string,
  { container, netns, namespace, name, uid }: AttachedPod,
): Readonly<Record<string, string>> {
  const told = { K8S_POD_NAMESPACE: namespace, K8S_POD_NAME: name, ...(uid !== undefined && { K8S_POD_UID: uid }) };
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: container,
    CNI_NETNS: `/run/netns/${netns}`,
    CNI_IFNAME: "eth0",
    CNI_ARGS: ["IgnoreUnknown=1", ...Object.entries(told).map((pair) => pair.join("="))].join(";"),
  };
}

/** What an administrator has written. */
export function writeList(path: string, list: NetworkList): void {
  writeFileSync(path, `${JSON.stringify(list, undefined, 2)}\n`);
}
