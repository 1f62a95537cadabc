/** What a kernel test needs for itself: compiled fixtures, network namespaces, a bpffs, a cgroup. All of it goes away. */
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBpffs, mountBpffs } from "../binding.ts";

export * from "./inner-process.ts";
export * from "./inner-traffic.ts";

const testdata = new URL("../../testdata/", import.meta.url).pathname;
const headers = new URL("../../../../build/include", import.meta.url).pathname;

/** Machines with both cgroup versions mount the second one deeper. */
function cgroupRoot(): string | undefined {
  const mounts = fs
    .readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  return mounts.find(([, , type]) => type === "cgroup2")?.[1];
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

let sandboxes = 0;

export class KernelSandbox implements AsyncDisposable {
  readonly dir: string;
  readonly #name = `bpft-${process.pid}-${++sandboxes}`;
  readonly #netnses: string[] = [];
  #named = 0;
  readonly #cgroups: string[] = [];
  readonly #mounts: string[] = [];
  readonly #disks: string[] = [];
  readonly #cleanUp = (): void => this.#removeAll();

  constructor() {
    this.dir = fs.mkdtempSync(join(tmpdir(), `${this.#name}-`));
    // A test that dies without disposing leaves nothing either.
    process.on("exit", this.#cleanUp);
  }

  /** Compiles `testdata/NAME.bpf.c`. */
  compile(name: string, ...flags: string[]): Buffer {
    const object = join(this.dir, `${name}.bpf.o`);
    const multiarch = `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    const debug = flags.includes("-g0") ? [] : ["-g"];
    const source = join(testdata, `${name}.bpf.c`);
    run(
      "clang",
      "-target",
      "bpf",
      "-O2",
      "-Wall",
      ...debug,
      `-I${headers}`,
      multiarch,
      ...flags,
      "-c",
      source,
      "-o",
      object,
    );
    return fs.readFileSync(object);
  }

  /** A new namespace with its loopback up; the path is for `inNetns`. */
  netns(): { readonly name: string; readonly path: string } {
    const name = `${this.#name}-${this.#named++}`;
    this.addNetns(name);
    return { name, path: `/run/netns/${name}` };
  }

  addNetns(name: string): void {
    run("ip", "netns", "add", name);
    this.#netnses.push(name);
    // Nobody answers them, and they would be counted whenever they come.
    run("ip", "netns", "exec", name, "sysctl", "-qe", "net.ipv6.conf.default.router_solicitations=0");
    run("ip", "-n", name, "link", "set", "lo", "up");
  }

  removeNetns(name: string): void {
    run("ip", "netns", "delete", name);
    this.#netnses.splice(this.#netnses.indexOf(name), 1);
  }

  /** Two namespaces and a veth pair between them: 10.9.0.1 on `v0` of the first, 10.9.0.2 on `v0` of the second. */
  pair(): {
    readonly near: { name: string; path: string; ifindex: number };
    readonly far: { name: string; path: string; ifindex: number };
  } {
    const [near, far] = [this.netns(), this.netns()];
    run("ip", "-n", near.name, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", far.name);
    for (const [index, { name }] of [near, far].entries()) {
      run("ip", "-n", name, "address", "add", `10.9.0.${index + 1}/24`, "dev", "v0");
      run("ip", "-n", name, "link", "set", "v0", "up");
    }
    return {
      near: { ...near, ifindex: this.ifindex(near.name, "v0") },
      far: { ...far, ifindex: this.ifindex(far.name, "v0") },
    };
  }

  ifindex(netns: string, device: string): number {
    const [link] = JSON.parse(this.ip(netns, "-j", "link", "show", "dev", device)) as { ifindex: number }[];
    if (!link) throw new Error(`find ${device} in ${netns}: no such device`);
    return link.ifindex;
  }

  ip(netns: string, ...args: string[]): string {
    return run("ip", "-n", netns, ...args);
  }

  /** Runs a script of Node in a namespace; its exit code. */
  node(
    netns: string,
    script: string,
  ): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
    return spawnSync("ip", ["netns", "exec", netns, process.execPath, "--input-type=module", "-e", script], {
      encoding: "utf8",
    });
  }

  /** Sends UDP datagrams to an address from a namespace. */
  sendUdp(netns: string, address: string, count: number): void {
    const script = `
      import { createSocket } from "node:dgram";
      const socket = createSocket("udp4");
      for (let sent = 0; sent < ${count}; sent++) await new Promise((done) => socket.send("x", 9, "${address}", done));
      socket.close();`;
    const { status, stderr } = this.node(netns, script);
    if (status !== 0) throw new Error(stderr);
  }

  async bpffs(): Promise<string> {
    const path = join(this.dir, `bpffs-${this.#mounts.length}`);
    fs.mkdirSync(path);
    await mountBpffs(path);
    this.#mounts.push(path);
    return path;
  }

  /** A file system of its own, of so many bytes. */
  disk(name: string, bytes: number): string {
    const path = join(this.dir, name);
    fs.mkdirSync(path);
    run("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "bpfleet-test", path);
    this.#disks.push(path);
    return path;
  }

  /** Folders under which processes can be put into cgroups: of version 2, and one hierarchy of version 1, as far as they are there. */
  cgroupRoots(): readonly string[] {
    return [cgroupRoot(), "/sys/fs/cgroup/pids"].filter(
      (root) => root !== undefined && fs.existsSync(root),
    ) as string[];
  }

  /** Undefined where the machine has no cgroup v2. */
  cgroup(): string | undefined {
    const root = cgroupRoot();
    if (root === undefined) return undefined;
    const path = join(root, `${this.#name}-${this.#cgroups.length}`);
    fs.mkdirSync(path);
    this.#cgroups.push(path);
    return path;
  }

  #removeAll(): void {
    for (const path of this.#disks.splice(0)) spawnSync("umount", ["-l", path]);
    for (const path of this.#mounts.splice(0)) if (isBpffs(path)) spawnSync("umount", [path]);
    for (const path of this.#cgroups.splice(0)) fs.rmdirSync(path);
    for (const name of this.#netnses.splice(0)) spawnSync("ip", ["netns", "delete", name]);
    fs.rmSync(this.dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#removeAll();
    process.off("exit", this.#cleanUp);
  }
}

/** Descriptors of this process, to see that none is left. */
export function openDescriptors(): number {
  return fs.readdirSync("/proc/self/fd").length;
}

export function u32(...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(numbers.length * 4);
  for (const [index, number] of numbers.entries()) bytes.writeUInt32LE(number, index * 4);
  return bytes;
}

/** Polls until something holds; tests of what the kernel does in its own time. */
export async function until(what: string, holds: () => boolean, timeoutMs = 5000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`wait until ${what}: ${timeoutMs} ms are over`);
    await new Promise((next) => setTimeout(next, 10));
  }
}
