import assert from "node:assert/strict";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { KernelSandbox } from "@bpfleet/native/testing";
import { LoadedPolicy } from "./testing/loaded-policy.ts";
import { smallTable } from "./testing/small-table.ts";

const addresses = { one: "10.9.1.2", other: "10.9.2.2", one6: "fd09:1::2", other6: "fd09:2::2" };

interface Ends {
  readonly node: { readonly name: string; readonly path: string };
  readonly one: string;
  readonly other: string;
}

/** Two pods of a node, each by a route of its own, or in one bridge. */
function wire(sandbox: KernelSandbox, isBridged: boolean): Ends {
  const [node, one, other] = [sandbox.netns(), sandbox.netns(), sandbox.netns()];
  const inNode = (...words: readonly string[]): void => void sandbox.ip(node.name, ...words);
  if (isBridged) {
    inNode(..."link add br0 type bridge forward_delay 0 mcast_snooping 0".split(" "));
    inNode("link", "set", "br0", "up");
  }
  for (const [number, pod] of [one, other].entries()) {
    const device = `h${number + 1}`;
    const side = number + 1;
    inNode("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", pod.name);
    if (isBridged) inNode("link", "set", device, "master", "br0");
    else {
      inNode("address", "add", `10.9.${side}.1/24`, "dev", device);
      inNode("address", "add", `fd09:${side}::1/64`, "dev", device, "nodad");
    }
    inNode("link", "set", device, "up");
    const width = isBridged ? [16, 16] : [24, 64];
    sandbox.ip(pod.name, "address", "add", `10.9.${side}.2/${width[0]}`, "dev", "eth0");
    sandbox.ip(pod.name, "address", "add", `fd09:${side}::2/${width[1]}`, "dev", "eth0", "nodad");
    sandbox.ip(pod.name, "link", "set", "eth0", "up");
    if (isBridged) continue;
    sandbox.ip(pod.name, "route", "add", "default", "via", `10.9.${side}.1`);
    sandbox.ip(pod.name, "-6", "route", "add", "default", "via", `fd09:${side}::1`);
  }
  if (!isBridged)
    sandbox.node(
      node.name,
      `import { writeFileSync } from "node:fs";
       for (const path of ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]) writeFileSync("/proc/sys/net/" + path, "1");`,
    );
  return { node, one: one.name, other: other.name };
}

const echo = `
  import { createSocket } from "node:dgram";
  const socket = createSocket("udp6");
  socket.on("message", (message, from) => socket.send(message, from.port, from.address));
  socket.bind(9, "::", () => console.log("ready"));`;

/** One packet after another until one is answered, or a few where none is to be. */
function ask(sandbox: KernelSandbox, netns: string, address: string, expected: "answered" | "silence"): void {
  const script = `
    import { createSocket } from "node:dgram";
    const socket = createSocket("${address.includes(":") ? "udp6" : "udp4"}");
    const end = (what) => { console.log(what); process.exit(); };
    socket.on("message", () => end("answered"));
    socket.bind(5000, () => setInterval(() => socket.send("x", 9, "${address}"), 100));
    setTimeout(end, ${expected === "answered" ? 20_000 : 500}, "silence");`;
  assert.equal(sandbox.node(netns, script).stdout.trim(), expected, address);
}

for (const isBridged of [false, true]) {
  test(`policy_ingress drops what another table let the other pod send, ${isBridged ? "bridged" : "routed"}`, async () => {
    await using sandbox = new KernelSandbox();
    const { node, one, other } = wire(sandbox, isBridged);
    const [first, second] = [sandbox.ifindex(node.name, "h1"), sandbox.ifindex(node.name, "h2")];
    await using sending = await LoadedPolicy.load();
    await using receiving = await LoadedPolicy.load();
    const put = (policy: LoadedPolicy, ifindex: number, serial: bigint): Promise<void> => {
      const all = [{ rules: [], fallback: "pass" as const }];
      return policy.put(smallTable({ serial, ifindex, peers: {}, ingress: all, egress: all }));
    };
    await put(sending, first, 0x1_0007n);
    await put(receiving, second, 0x2_0007n);
    const at = { inNetns: node.path };
    await using _sends = await sending.programs.egress.attach({ tcx: first, dir: "ingress" }, at);
    await using _hears = await sending.programs.ingress.attach({ tcx: first, dir: "egress" }, at);
    await using _receives = await receiving.programs.ingress.attach({ tcx: second, dir: "egress" }, at);
    await using _answers = await receiving.programs.egress.attach({ tcx: second, dir: "ingress" }, at);
    const server = spawn("ip", ["netns", "exec", other, process.execPath, "--input-type=module", "-e", echo]);
    const [line] = (await once(createInterface({ input: server.stdout }), "line")) as [string];
    assert.equal(line, "ready");
    try {
      for (const address of [addresses.other, addresses.other6]) {
        ask(sandbox, one, address, "answered");
        await put(receiving, second, 0x2_0008n);
        ask(sandbox, one, address, "silence");
        // A flow that this table knows well, too.
        await put(sending, first, 0x3_0008n);
        ask(sandbox, one, address, "answered");
        await put(sending, first, 0x3_0009n);
        ask(sandbox, one, address, "silence");
        await put(receiving, second, 0x4_0000n);
        await put(sending, first, 0x5_0001n);
        ask(sandbox, one, address, "answered");
        await put(sending, first, 0x1_0007n);
        await put(receiving, second, 0x2_0007n);
      }
      const dropped = (await receiving.reasons()).get("edited_meanwhile") ?? 0;
      assert.ok(dropped >= 4, `${dropped} counted`);
    } finally {
      const ended = once(server, "exit");
      server.kill();
      await ended;
    }
  });
}
