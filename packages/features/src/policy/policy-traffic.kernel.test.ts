import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { test } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import * as make from "../filter/testing/packets.ts";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { smallTable, type SmallPolicy } from "./testing/small-table.ts";

/** The pod is the far end; the programs stand at the near one, as on a node. */
const node = "10.9.0.1";
const pod = "10.9.0.2";
const node6 = "fd09::1";
const pod6 = "fd09::2";

const peers = { node: [make.v4(node), 32], node6: [make.v6(node6), 128] } as const;

/** In the pod: echoes TCP on 9 and 10 and UDP on 9, over both families. */
const server = `
  import { createSocket } from "node:dgram";
  import { createServer } from "node:net";
  const socket = createSocket("udp6");
  socket.on("message", (message, from) => socket.send(message, from.port, from.address));
  await new Promise((done) => socket.bind(9, "::", done));
  const listen = (port) => new Promise((done) => createServer((client) => client.on("error", () => {}).pipe(client)).listen(port, "::", done));
  await Promise.all([listen(9), listen(10)]);
  console.log("ready");`;

/** One connection that answers "ok" or "cut" to each line that it is told to send. */
const talker = (address: string): string => `
  import { connect } from "node:net";
  import { createInterface } from "node:readline";
  const socket = connect(9, "${address}");
  let answered = () => {};
  socket.on("data", () => answered("ok"));
  socket.on("error", () => answered("cut"));
  await new Promise((done) => socket.on("connect", done));
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = new Promise((done) => (answered = done));
    socket.write(line);
    console.log(await Promise.race([answer, new Promise((done) => setTimeout(done, 700, "cut"))]));
  }
  process.exit();`;

class Inside implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(netns: string, script: string) {
    this.#child = spawn("ip", ["netns", "exec", netns, process.execPath, "--input-type=module", "-e", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines: Interface = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { value } = (await this.#lines.next()) as { value: string | undefined };
    return value ?? "ended";
  }

  async ask(text: string): Promise<string> {
    this.#child.stdin?.write(`${text}\n`);
    return await this.line();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill();
    await ended;
  }
}

/** What became of a connection: "open", "refused" or "timeout". */
function connectTo(sandbox: KernelSandbox, netns: string, address: string, port: number): string {
  const script = `
    import { connect } from "node:net";
    const socket = connect(${port}, "${address}");
    const end = (what) => { console.log(what); process.exit(); };
    socket.on("connect", () => end("open"));
    socket.on("error", ({ code }) => end(code === "ECONNREFUSED" ? "refused" : code));
    setTimeout(end, 600, "timeout");`;
  return sandbox.node(netns, script).stdout.trim();
}

function udpEcho(sandbox: KernelSandbox, netns: string, address: string, size: number): string {
  const script = `
    import { createSocket } from "node:dgram";
    const socket = createSocket("${address.includes(":") ? "udp6" : "udp4"}");
    const end = (what) => { console.log(what); process.exit(); };
    socket.on("message", (message) => end(\`answered \${message.length}\`));
    socket.on("error", ({ code }) => end(code));
    socket.connect(9, "${address}", () => socket.send(Buffer.alloc(${size})));
    setTimeout(end, 600, "silence");`;
  return sandbox.node(netns, script).stdout.trim();
}

/** A datagram to a port where nobody listens: whether the sender is told. */
function closedPort(sandbox: KernelSandbox, netns: string, address: string): string {
  const script = `
    import { createSocket } from "node:dgram";
    const socket = createSocket("${address.includes(":") ? "udp6" : "udp4"}");
    const end = (what) => { console.log(what); process.exit(); };
    socket.on("error", ({ code }) => end(code));
    socket.connect(4242, "${address}", () => { socket.send("x"); setTimeout(() => socket.send("x"), 100); });
    setTimeout(end, 600, "silence");`;
  return sandbox.node(netns, script).stdout.trim();
}

function ping(netns: string, address: string, size: number): boolean {
  const args = ["netns", "exec", netns, "ping", "-n", "-c", "1", "-W", "1", "-s", `${size}`, address];
  return spawnSync("ip", args, { encoding: "utf8" }).status === 0;
}

const open: Omit<SmallPolicy, "ifindex"> = {
  peers,
  ingress: [
    {
      rules: [
        { peer: "node", port: ["tcp", 9], rule: 1 },
        { peer: "node", port: ["udp", 9], rule: 2 },
        { peer: "node", port: ["icmp", 8], rule: 3 },
        { peer: "node6", port: ["tcp", 9], rule: 4 },
        { peer: "node6", port: ["udp", 9], rule: 5 },
        { peer: "node6", port: ["icmpv6", 128], rule: 6 },
      ],
    },
  ],
  egress: [{ rules: [{ port: ["udp", 4242], rule: 7 }] }],
};

test("policy_ingress and policy_egress hold between real sockets, over IPv4 and IPv6", async () => {
  await using sandbox = new KernelSandbox();
  const { near, far } = sandbox.pair();
  sandbox.ip(near.name, "address", "add", `${node6}/64`, "dev", "v0", "nodad");
  sandbox.ip(far.name, "address", "add", `${pod6}/64`, "dev", "v0", "nodad");
  await using policy = await LoadedPolicy.load();
  const put = (table: Omit<SmallPolicy, "ifindex">): Promise<void> =>
    policy.put(smallTable({ ...table, ifindex: near.ifindex }));
  await put(open);
  await using inside = new Inside(far.name, server);
  assert.equal(await inside.line(), "ready");
  const at = { inNetns: near.path };
  await using _in = await policy.programs.ingress.attach({ tcx: near.ifindex, dir: "egress" }, at);
  await using _out = await policy.programs.egress.attach({ tcx: near.ifindex, dir: "ingress" }, at);

  for (const [host, endpoint] of [
    [node, pod],
    [node6, pod6],
  ] as const) {
    assert.equal(connectTo(sandbox, near.name, endpoint, 9), "open", endpoint);
    assert.equal(connectTo(sandbox, near.name, endpoint, 10), "timeout");
    assert.equal(connectTo(sandbox, far.name, host, 9), "timeout", "the pod may not open connections");
    assert.equal(udpEcho(sandbox, near.name, endpoint, 10), "answered 10");
    assert.equal(udpEcho(sandbox, near.name, endpoint, 5000), "answered 5000", "in fragments");
    assert.equal(ping(near.name, endpoint, 56), true);
    assert.equal(ping(near.name, endpoint, 4000), true, "in fragments");
    assert.equal(ping(far.name, host, 56), false);
    assert.equal(closedPort(sandbox, far.name, host), "ECONNREFUSED", "the error comes back to the pod");
    assert.equal(closedPort(sandbox, near.name, endpoint), "silence");
  }

  await using first = new Inside(near.name, talker(pod));
  await using second = new Inside(near.name, talker(pod6));
  for (const each of [first, second]) {
    assert.equal(await each.line(), "ready");
    assert.equal(await each.ask("a"), "ok");
  }
  await put({ ...open, serial: 2n });
  for (const each of [first, second]) assert.equal(await each.ask("b"), "ok", "the next table allows it too");
  await put({ ...open, serial: 3n, ingress: [{ rules: [] }], egress: [] });
  for (const each of [first, second]) assert.equal(await each.ask("c"), "cut", "although the pod may send anything");
});

test("policy_ingress keeps open connections of rules that keep flows, between real sockets", async () => {
  await using sandbox = new KernelSandbox();
  const { near, far } = sandbox.pair();
  await using policy = await LoadedPolicy.load();
  const put = (serial: bigint, rules: NonNullable<SmallPolicy["ingress"]>[number]["rules"]): Promise<void> =>
    policy.put(smallTable({ serial, peers, ingress: [{ rules }], egress: [{ rules: [] }], ifindex: near.ifindex }));
  await put(1n, [{ peer: "node", port: ["tcp", 9], rule: 1, keepsFlows: true }]);
  await using inside = new Inside(far.name, server);
  assert.equal(await inside.line(), "ready");
  const at = { inNetns: near.path };
  await using _in = await policy.programs.ingress.attach({ tcx: near.ifindex, dir: "egress" }, at);
  await using _out = await policy.programs.egress.attach({ tcx: near.ifindex, dir: "ingress" }, at);
  await using connection = new Inside(near.name, talker(pod));
  assert.equal(await connection.line(), "ready");
  assert.equal(await connection.ask("a"), "ok");
  await put(2n, []);
  assert.equal(await connection.ask("b"), "ok");
  assert.equal(connectTo(sandbox, near.name, pod, 9), "timeout");
});
