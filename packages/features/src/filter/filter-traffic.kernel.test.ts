import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import { DeclaredFilter } from "./testing/declared-filter.ts";
import { TestMaps } from "./testing/loaded-filter.ts";

const near = "10.9.0.1";
const far = "10.9.0.2";

/** Echoes UDP on port 9, sends two megabytes to whoever connects to TCP port 9. */
const server = `
  import { createSocket } from "node:dgram";
  import { createServer } from "node:net";
  const socket = createSocket("udp4");
  socket.on("message", (message, from) => socket.send(message, from.port, from.address));
  await new Promise((done) => socket.bind(9, "${far}", done));
  createServer((client) => client.end(Buffer.alloc(2 << 20))).listen(9, "${far}", () => console.log("ready"));`;

/** Sends datagrams to the server and prints how many came back. */
const udpClient = (count: number): string => `
  import { createSocket } from "node:dgram";
  import { setTimeout as sleep } from "node:timers/promises";
  const socket = createSocket("udp4");
  let back = 0;
  socket.on("message", () => back++);
  for (let sent = 0; sent < ${count}; sent++) {
    await new Promise((done) => socket.send("x", 9, "${far}", done));
    await sleep(2);
  }
  for (let waited = 0; back < ${count} && waited < 300; waited += 10) await sleep(10);
  console.log(back);
  socket.close();`;

const tcpClient = `
  import { connect } from "node:net";
  let bytes = 0;
  const socket = connect(9, "${far}");
  socket.on("data", (chunk) => (bytes += chunk.length));
  socket.on("close", () => console.log(bytes));
  socket.setTimeout(5000, () => socket.destroy());`;

async function startServer(netns: string): Promise<ChildProcess> {
  const child = spawn("ip", ["netns", "exec", netns, process.execPath, "--input-type=module", "-e", server], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

test("filter on an interface limits what arrives, and with its tracker lets the replies through", async () => {
  await using sandbox = new KernelSandbox();
  const { near: here, far: there } = sandbox.pair();
  using maps = new TestMaps();
  const wish = { packetsPerSecond: 5, isStateful: true };
  await using filter = await DeclaredFilter.load(wish, maps);
  const child = await startServer(there.name);
  try {
    await using xdp = await filter.main.program.attach({ xdp: here.ifindex, mode: "native" }, { inNetns: here.path });
    const run = (script: string): number => Number(sandbox.node(here.name, script).stdout);

    const begin = performance.now();
    const limited = run(udpClient(100));
    const seconds = (performance.now() - begin) / 1000;
    assert.ok(
      limited >= 1 && limited <= 5 + seconds * 5,
      `${limited} of 100 came back in ${seconds} s without the tracker`,
    );
    assert.ok((await filter.packets("rate_limited")) >= 100 - limited);

    const tracker = filter.tracker;
    assert.ok(tracker);
    await using tcx = await tracker.program.attach({ tcx: here.ifindex, dir: "egress" }, { inNetns: here.path });
    assert.equal(run(udpClient(100)), 100);
    assert.equal(run(tcpClient), 2 << 20);
    assert.equal(ping(here.name), 50);
    assert.ok((await filter.packets("reply")) >= 250);

    const before = await filter.packets("rate_limited");
    const inward = sandbox.node(there.name, unsolicited);
    assert.equal(inward.status, 0, inward.stderr);
    assert.ok((await filter.packets("rate_limited")) - before >= 500, "what answers nothing is limited");
    assert.ok(xdp.info.id !== tcx.info.id);
  } finally {
    const ended = once(child, "exit");
    child.kill();
    await ended;
  }
});

const unsolicited = `
  import { createSocket } from "node:dgram";
  const socket = createSocket("udp4");
  for (let sent = 0; sent < 1000; sent++) await new Promise((done) => socket.send("x", 4242, "${near}", done));
  socket.close();`;

/** How many of fifty were answered. */
function ping(netns: string): number {
  const args = ["netns", "exec", netns, "ping", "-n", "-c", "50", "-i", "0.01", "-W", "1", far];
  return Number(/(\d+) received/.exec(spawnSync("ip", args, { encoding: "utf8" }).stdout)?.[1]);
}
