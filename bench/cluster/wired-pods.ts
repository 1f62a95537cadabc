import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { PodCgroups } from "../../test/cluster/pods.ts";

/**
 * Pods as policies meet them: each a process in a network namespace of its own, in the pod's cgroup, with a veth pair to
 * the node. All of it ends with the processes.
 */
export class WiredPods implements AsyncDisposable {
  readonly #processes: ChildProcess[] = [];

  /** `node` is the name of the node's network namespace. */
  async add(node: string, uids: readonly string[], cgroups: PodCgroups): Promise<void> {
    const started = await Promise.all(uids.map((uid) => this.#start(cgroups.add(uid))));
    const first = this.#processes.length;
    this.#processes.push(...started);
    const links = started.map(({ pid }, at) => `link add p${first + at} type veth peer name eth0 netns ${pid}`);
    const up = started.map((_, at) => `link set p${first + at} up`);
    execFileSync("ip", ["-n", node, "-batch", "-"], { input: `${[...links, ...up].join("\n")}\n` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#processes.splice(0).map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = once(child, "exit");
        child.kill("SIGKILL");
        await ended;
      }),
    );
  }

  /** Resolves when it is in its cgroup and its network namespace. */
  async #start(cgroup: string): Promise<ChildProcess> {
    const script = `echo $$ >${cgroup}/cgroup.procs && echo in && exec sleep 1000000`;
    const words = ["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", script];
    const child = spawn("setpriv", words, { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    return child;
  }
}
