import { run, Running } from "./processes.ts";

/**
 * A network namespace without a name: it is there as long as the process that holds it, so that nothing
 * stays behind when we are killed.
 */
export class Network {
  readonly #holder: Running;

  private constructor(holder: Running) {
    this.#holder = holder;
  }

  static async open(name: string, logs: string): Promise<Network> {
    const holder = new Running(`network-${name}`, logs, ["unshare", "--net", "sleep", "infinity"]);
    const network = new Network(holder);
    const own = await run(["readlink", "/proc/self/ns/net"]);
    await holder.until("namespace", async () => {
      const [of, program] = await Promise.all([
        run(["readlink", network.path]),
        run(["cat", `/proc/${holder.pid}/comm`]),
      ]);
      return of !== own && program.trim() === "sleep";
    });
    await network.run(["ip", "link", "set", "lo", "up"]);
    return network;
  }

  get path(): string {
    return `/proc/${this.#holder.pid}/ns/net`;
  }

  /** A command, made to run in here. */
  inside(command: readonly string[]): string[] {
    return ["nsenter", `--net=${this.path}`, ...command];
  }

  run(command: readonly string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}): Promise<string> {
    return run(this.inside(command), options);
  }

  async ip(...commands: readonly string[]): Promise<void> {
    for (const command of commands) await this.run(["ip", ...command.split(" ")]);
  }

  /** Joins a namespace to this one's switch by a cable; its own end is called `eth0`. */
  async plug(port: string, other: Network): Promise<void> {
    await this.ip(
      `link add ${port} type veth peer name eth0 netns ${other.#holder.pid}`,
      `link set ${port} master switch0 up`,
    );
  }

  close(): Promise<void> {
    return this.#holder.kill();
  }
}
