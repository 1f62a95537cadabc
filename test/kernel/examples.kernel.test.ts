import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { KernelSandbox } from "@bpfleet/native/testing";
import { StandaloneNode } from "./standalone-node.ts";

const root = join(import.meta.dirname, "../..");
const examples = join(root, "examples");
const nodeName = "worker";
/** Of applications; nobody on this machine has them. */
const [appUser, appGroup] = [64_321, 64_322];

/** A node with `eth0`, a client behind it, and the counter at /opt as it is in the examples' YAML. */
class ExampleNode implements AsyncDisposable {
  readonly node: StandaloneNode;
  readonly #client: string;
  readonly #closing: AsyncDisposableStack;

  private constructor(node: StandaloneNode, client: string, closing: AsyncDisposableStack) {
    this.node = node;
    this.#client = client;
    this.#closing = closing;
  }

  static async start(context: TestContext): Promise<ExampleNode | undefined> {
    await using made = new AsyncDisposableStack();
    const opt = mkdtempSync(join(tmpdir(), "examples-"));
    made.defer(() => rmSync(opt, { recursive: true }));
    const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    const source = join(examples, "bpf/counter.bpf.c");
    const flags = ["-target", "bpf", "-O2", "-g", "-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
    execFileSync("clang", [...flags, "-c", source, "-o", join(opt, "counter.o")]);
    const sandbox = made.use(new KernelSandbox());
    const node = await StandaloneNode.make({ BPFLEET_NODE_NAME: nodeName });
    if (node === undefined) {
      context.skip("there is no cgroup v2");
      return undefined;
    }
    made.use(node);
    const client = sandbox.netns().name;
    sandbox.ip(node.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", client);
    for (const [netns, address] of [
      [node.netns, "10.0.0.1/24"],
      [client, "10.0.0.2/24"],
    ] as const) {
      sandbox.ip(netns, "address", "add", address, "dev", "eth0");
      sandbox.ip(netns, "link", "set", "eth0", "up");
    }
    const bind = `mount --bind ${opt} /opt`;
    await node.up(bind, "--maps-group", String(appGroup));
    // The folders of a test are its own; those of a node are open to whom they are for.
    for (const folder of [dirname(node.metrics), dirname(node.bpffs), dirname(dirname(node.metrics))])
      if (folder.startsWith(tmpdir()) && folder !== tmpdir()) chmodSync(folder, 0o711);
    return new ExampleNode(node, client, made.move());
  }

  ping(count: number): number {
    const { stdout } = spawnSync("ip", [
      "netns",
      "exec",
      this.#client,
      "ping",
      "-c",
      String(count),
      "-i",
      "0.05",
      "-W",
      "1",
      "10.0.0.1",
    ]);
    return Number(/(\d+) received/.exec(String(stdout))?.[1] ?? 0);
  }

  /** What is declared is in force some time later. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (const end = performance.now() + 30_000; !holds(); await sleep(50))
      if (performance.now() > end) assert.fail(`wait until ${what}: 30 s are over`);
  }

  /** An example's program, with what it says; ended with the node. */
  run(path: string, args: readonly string[], who: { readonly uid?: number; readonly gid?: number }): Application {
    return this.runNode([join(examples, path), ...args], who);
  }

  runNode(args: readonly string[], who: { readonly uid?: number; readonly gid?: number }): Application {
    const env = {
      ...this.node.environment,
      NODENAME: nodeName,
      EBPFCTL: join(root, "bin/ebpfctl"),
      BPFLEET_PROGRAMS: join(dirname(this.node.metrics), "programs"),
    };
    const child = spawn(process.execPath, args, {
      cwd: join(root, "packages/client"),
      env,
      stdio: ["ignore", "pipe", "pipe"],
      ...who,
    });
    const application = new Application(child);
    this.#closing.use(application);
    return application;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#closing.disposeAsync();
  }
}

class Application implements AsyncDisposable {
  readonly #child: ChildProcess;
  said = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (this.said += String(chunk)));
  }

  async says(what: RegExp): Promise<RegExpExecArray> {
    for (const end = performance.now() + 60_000; performance.now() < end; await sleep(30)) {
      const found = what.exec(this.said);
      if (found !== null) return found;
    }
    assert.fail(`${what} was not said: ${this.said}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await ended;
  }
}

async function loaded(node: StandaloneNode, config: string): Promise<void> {
  for (const end = performance.now() + 60_000; performance.now() < end; await sleep(50)) {
    const { exitCode, out } = await node.run(["get", "bpfprogram", `${config}-${nodeName}`, "-o", "json"]);
    if (exitCode !== 0) continue;
    const { status } = JSON.parse(out) as { status?: { conditions?: readonly { type: string }[] } };
    if (status?.conditions?.at(-1)?.type === "Loaded") return;
  }
  assert.fail(`${config} was not loaded: ${(await node.run(["get", "bpfprogramconfig", config, "-o", "yaml"])).out}`);
}

test("examples/manual counts packets, with no application", async (context) => {
  await using example = await ExampleNode.start(context);
  if (example === undefined) return;
  const { node } = example;
  await node.apply(readFileSync(join(examples, "manual/config.yaml"), "utf8"));
  await loaded(node, "count-packets");
  assert.equal(example.ping(5), 5);
  const program = JSON.parse(await node.do("get", "bpfprogram", `count-packets-${nodeName}`, "-o", "json")) as {
    spec: { programs: Record<string, { maps: Record<string, string> }> };
  };
  const [maps] = Object.values(program.spec.programs).map((each) => each.maps);
  assert.match(maps?.["xdp_stats_map"] ?? "", /\/maps\/[-0-9a-f]{36}\/xdp_stats_map$/);
});

test("examples/manual-with-app tells packets and bytes as a user without rights, by the pin of the map", async (context) => {
  await using example = await ExampleNode.start(context);
  if (example === undefined) return;
  await example.node.apply(readFileSync(join(examples, "manual-with-app/config.yaml"), "utf8"));
  const application = example.run("manual-with-app/counter.ts", [], { uid: appUser, gid: appGroup });
  await application.says(/is loaded/);
  assert.equal(example.ping(5), 5);
  const [, packets] = await application.says(/([1-9]\d*) packets received\n[1-9]\d* bytes received/);
  assert.ok(Number(packets) >= 5);
  const readme = readFileSync(join(root, "packages/client/README.md"), "utf8");
  const [, code = ""] = /```ts\n([^]*?)```/.exec(readme) ?? [];
  const shown = example.runNode(["--input-type=module-typescript", "-e", code], { uid: appUser, gid: appGroup });
  await shown.says(/[1-9]\d* packets since it was loaded/);
  const stranger = example.run("manual-with-app/counter.ts", [], { uid: appUser, gid: appUser });
  await stranger.says(/EACCES|permission denied|not permitted/i);
});

test("examples/dynamic opens, closes and takes back its program by itself", async (context) => {
  await using example = await ExampleNode.start(context);
  if (example === undefined) return;
  const application = example.run("dynamic/operator.ts", ["10"], {});
  await application.says(/^open/m);
  await loaded(example.node, "gate");
  assert.ok(example.ping(12) >= 8);
  await application.says(/closed after \d+ packets/);
  await example.until("the gate is closed", () => example.ping(1) === 0);
  assert.equal(example.ping(3), 0);
  await application.says(/[1-9]\d* packets dropped/);
  await application[Symbol.asyncDispose]();
  const { exitCode } = await example.node.run(["get", "bpfprogramconfig", "gate"]);
  assert.notEqual(exitCode, 0);
  await example.until("the gate is gone", () => example.ping(1) === 1);
  assert.equal(example.ping(3), 3);
});
