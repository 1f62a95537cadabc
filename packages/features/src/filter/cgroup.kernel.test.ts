import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { startPodNode, type PodNode } from "../testing/pod-node.ts";
import { closeTcp, connectTcp, listenTcp, listenUdp, receivedUdp, sendUdp, writeTcp } from "@bpfleet/native/testing";
import type { FilterIntent, PodCgroup, Prefix } from "./intent.ts";

const ipv4Header = 20;
const ipv6Header = 40;
const udpHeader = 8;

interface Wish {
  readonly name?: string;
  readonly directions?: readonly ("ingress" | "egress")[];
  readonly blacklist?: readonly string[];
  readonly packetsPerSecond?: number;
  readonly accounting?: boolean;
  readonly priority?: number;
}

function filter(pods: readonly PodCgroup[], wish: Wish): FilterIntent {
  const { name = "f", directions = ["egress"], blacklist, packetsPerSecond, accounting, priority = 10 } = wish;
  const object = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name };
  const origin = { object, path: "/spec" };
  return {
    feature: "filter",
    origin,
    at: { hook: "cgroup", pods, directions },
    priority,
    isStateful: false,
    maps: [],
    ...(blacklist && {
      blacklist: {
        entries: blacklist.map((text, at) => ({
          prefix: prefixOf(text),
          text,
          origin: { object, path: `/spec/ips/${at}` },
        })),
        origin,
      },
    }),
    ...(packetsPerSecond !== undefined && { rateLimit: { packetsPerSecond, origin } }),
    ...(accounting === true && { accounting: { origin } }),
  };
}

/** Of text without mistakes, and without bits behind the prefix. */
function prefixOf(text: string): Prefix {
  const [address = "", length] = text.split("/");
  if (!address.includes(":")) {
    return { family: 4, bytes: Uint8Array.from(address.split("."), Number), length: Number(length ?? 32) };
  }
  const [left = [], right = []] = address.split("::").map((part) => part.split(":").filter((group) => group !== ""));
  const groups = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => "0"), ...right];
  const bytes = groups.map((group) => Number.parseInt(group, 16)).flatMap((group) => [group >> 8, group & 255]);
  return { family: 6, bytes: Uint8Array.from(bytes), length: Number(length ?? 128) };
}

type Totals = Readonly<Record<string, readonly [packets: number, bytes: number]>>;

/** By reason, without those that counted nothing. */
async function reasons(node: PodNode, instance: string): Promise<Totals> {
  const counters = (await node.counters()).get(`filter/default/${instance}`);
  const counted = Object.entries(counters?.reasons ?? {}).filter(([, { packets }]) => packets > 0n);
  return Object.fromEntries(counted.map(([name, { packets, bytes }]) => [name, [Number(packets), Number(bytes)]]));
}

describe("filter on cgroups", async () => {
  const node = await startPodNode(afterEach);
  if (node === undefined) return it("judges what pods send", { skip: "no cgroup v2" });
  node.addAddress("10.5.0.1/32", "10.5.0.2/32", "10.6.0.1/32", "fd05::1/128", "fd06::1/128");

  for (const [address, header] of [
    ["10.5.0.1", ipv4Header],
    ["fd05::1", ipv6Header],
  ] as const) {
    it(`accounts packets and bytes of each pod and direction as they were sent to ${address}`, async () => {
      const [a, b] = [node.pod("a"), node.pod("b")];
      await node.apply(filter([a, b], { directions: ["ingress", "egress"], accounting: true }));
      const [inA, inB, outside] = [await node.process(a), await node.process(b), await node.process()];
      const [portA, portB] = [await listenUdp(inA, address), await listenUdp(inB, address)];
      assert.deepEqual(await sendUdp(inA, { address, port: portB }, 100, 1000), { sent: 100, refused: {} });
      await sendUdp(inB, { address, port: portA }, 7, 1);
      await sendUdp(outside, { address, port: portB }, 3, 20);
      const large = [100, 100 * (header + udpHeader + 1000)] as const;
      const small = [7, 7 * (header + udpHeader + 1)] as const;
      const foreign = [3, 3 * (header + udpHeader + 20)] as const;
      assert.deepEqual(await reasons(node, "f/egress/default/a"), { allowed: large });
      assert.deepEqual(await reasons(node, "f/ingress/default/a"), { allowed: small });
      assert.deepEqual(await reasons(node, "f/egress/default/b"), { allowed: small });
      assert.deepEqual(await reasons(node, "f/ingress/default/b"), {
        allowed: [large[0] + foreign[0], large[1] + foreign[1]],
      });
    });
  }

  it("accounts what a connection carries", async () => {
    const [a, b] = [node.pod("a"), node.pod("b")];
    await node.apply(filter([a, b], { directions: ["ingress", "egress"], accounting: true }));
    const [inA, inB] = [await node.process(a), await node.process(b)];
    const port = await listenTcp(inB, "10.5.0.1");
    await connectTcp(inA, { address: "10.5.0.1", port }, 1);
    await writeTcp(inA, 5_000_000);
    await closeTcp(inA, 1);
    const [, sent = 0] = (await reasons(node, "f/egress/default/a"))["allowed"] ?? [];
    const [, received = 0] = (await reasons(node, "f/ingress/default/b"))["allowed"] ?? [];
    // Headers are counted once for each piece that the network stack handles, which are of any size.
    for (const bytes of [sent, received]) assert.ok(bytes >= 5_000_000 && bytes < 5_300_000, `${bytes} bytes`);
  });

  it("refuses what pods send to addresses on the list, and nothing else of anybody", async () => {
    const [a, b, free] = [node.pod("a"), node.pod("b"), node.pod("free")];
    const listed = ["10.5.0.0/24", "10.6.0.1", "fd05::/64"];
    await node.apply(filter([a, b], { blacklist: listed }));
    node.addAddress("10.7.0.1/32");
    const [inA, inB, inFree] = [await node.process(a), await node.process(b), await node.process(free)];
    const target = async (address: string) => ({ address, port: await listenUdp(inFree, address) });
    const [cidr, single, six, other, otherSix] = [
      await target("10.5.0.2"),
      await target("10.6.0.1"),
      await target("fd05::1"),
      await target("10.7.0.1"),
      await target("fd06::1"),
    ];
    for (const inner of [inA, inB]) {
      for (const to of [cidr, single, six])
        assert.deepEqual(await sendUdp(inner, to, 4), { sent: 0, refused: { EPERM: 4 } });
      for (const to of [other, otherSix]) assert.deepEqual(await sendUdp(inner, to, 2), { sent: 2, refused: {} });
    }
    assert.equal(await receivedUdp(inFree, 8), 8);
    await sendUdp(inFree, cidr, 5);
    assert.equal(await receivedUdp(inFree, 13), 13);
    const rules = (await node.counters()).get("filter/default/f/egress")?.rules ?? [];
    assert.deepEqual(
      rules.map(({ rule, counter }) => [rule.text, Number(counter.packets)]),
      listed.map((text) => [text, 8]),
    );
  });

  it("gives connections to addresses on the list no answer, and cuts those that are open", async () => {
    const [a, server] = [node.pod("a"), node.pod("server")];
    const [inA, inServer] = [await node.process(a), await node.process(server)];
    const listed = { address: "10.5.0.1", port: await listenTcp(inServer, "10.5.0.1") };
    const other = { address: "10.6.0.1", port: await listenTcp(inServer, "10.6.0.1") };
    await node.apply(filter([a], { blacklist: ["192.0.2.1"] }));
    assert.deepEqual(await connectTcp(inA, listed, 1), []);
    await node.apply(filter([a], { blacklist: ["10.5.0.1"] }));
    const before = (await reasons(node, "f/egress"))["blacklist"];
    assert.equal(before, undefined);
    await writeTcp(inA, 100);
    assert.notEqual((await reasons(node, "f/egress"))["blacklist"], undefined);
    assert.deepEqual(await connectTcp(inA, listed, 1, 300), ["no answer"]);
    assert.deepEqual(await connectTcp(inA, other, 1), []);
  });

  it("drops what comes from addresses on the list where it judges what pods receive", async () => {
    const [a, sender] = [node.pod("a"), node.pod("sender")];
    await node.apply(filter([a], { directions: ["ingress"], blacklist: ["10.5.0.1", "fd05::1"] }));
    const [inA, inSender] = [await node.process(a), await node.process(sender)];
    for (const address of ["10.5.0.1", "fd05::1"]) {
      const port = await listenUdp(inA, address);
      assert.deepEqual(await sendUdp(inSender, { address, port }, 3), { sent: 3, refused: {} });
    }
    const port = await listenUdp(inA, "10.6.0.1");
    await sendUdp(inSender, { address: "10.6.0.1", port }, 2);
    assert.equal(await receivedUdp(inA, 2), 2);
    assert.equal((await reasons(node, "f/ingress"))["blacklist"]?.[0], 6);
  });

  it("limits each pod for itself, also where pods have one address", async () => {
    const [a, b, server] = [node.pod("a"), node.pod("b"), node.pod("server")];
    await node.apply(filter([a, b], { packetsPerSecond: 20 }));
    const [inA, inB, inServer] = [await node.process(a), await node.process(b), await node.process(server)];
    for (const address of ["10.5.0.1", "fd05::1"]) {
      const to = { address, port: await listenUdp(inServer, address) };
      for (const inner of [inA, inB]) {
        const { sent, refused } = await sendUdp(inner, to, 300);
        assert.ok(sent >= 20 && sent < 100, `${sent} of 300 were sent to ${address}`);
        assert.deepEqual(refused, { EPERM: 300 - sent });
      }
    }
  });

  it("lets through only what every object lets through, whatever their order, and each sees all", async () => {
    const a = node.pod("a");
    const objects = [
      filter([a], { name: "one", blacklist: ["10.5.0.1"], priority: 1 }),
      filter([a], { name: "two", blacklist: ["10.6.0.1"], priority: 2 }),
    ];
    const [inA, outside] = [await node.process(a), await node.process()];
    const [first, second, other] = [
      { address: "10.5.0.1", port: await listenUdp(outside, "10.5.0.1") },
      { address: "10.6.0.1", port: await listenUdp(outside, "10.6.0.1") },
      { address: "10.5.0.2", port: await listenUdp(outside, "10.5.0.2") },
    ];
    for (const order of [objects, objects.toReversed()]) {
      await node.apply();
      for (let upTo = 1; upTo <= order.length; upTo++) await node.apply(...order.slice(0, upTo));
      assert.deepEqual(await sendUdp(inA, first, 2), { sent: 0, refused: { EPERM: 2 } });
      assert.deepEqual(await sendUdp(inA, second, 3), { sent: 0, refused: { EPERM: 3 } });
      assert.deepEqual(await sendUdp(inA, other, 4), { sent: 4, refused: {} });
      const packets = async (name: string): Promise<readonly (readonly [string, number])[]> =>
        Object.entries(await reasons(node, `${name}/egress`)).map(([reason, [count]]) => [reason, count]);
      assert.deepEqual(await packets("one"), [
        ["allowed", 7],
        ["blacklist", 2],
      ]);
      assert.deepEqual(await packets("two"), [
        ["allowed", 6],
        ["blacklist", 3],
      ]);
    }
  });

  it("judges what the cgroups below a pod's send, which cannot allow it themselves", async () => {
    const outer = node.pod("outer");
    const inner = node.pod("outer/inner");
    await node.apply(
      filter([outer], { name: "outer", blacklist: ["10.5.0.1"], accounting: true }),
      filter([inner], { name: "inner", blacklist: ["10.6.0.1"], accounting: true }),
    );
    const [inInner, inOuter, outside] = [await node.process(inner), await node.process(outer), await node.process()];
    const first = { address: "10.5.0.1", port: await listenUdp(outside, "10.5.0.1") };
    const second = { address: "10.6.0.1", port: await listenUdp(outside, "10.6.0.1") };
    assert.deepEqual(await sendUdp(inInner, first, 2), { sent: 0, refused: { EPERM: 2 } });
    assert.deepEqual(await sendUdp(inInner, second, 2), { sent: 0, refused: { EPERM: 2 } });
    assert.deepEqual(await sendUdp(inOuter, second, 2), { sent: 2, refused: {} });
    assert.equal((await reasons(node, "outer/egress/default/outer"))["allowed"]?.[0], 4);
    assert.equal((await reasons(node, "inner/egress/default/inner"))["allowed"]?.[0], 2);
  });

  it("takes changes of the list over without a gap, packet by packet", async () => {
    const a = node.pod("a");
    const lists = [["10.5.0.1", "192.0.2.0/24"], ["198.51.100.0/24", "10.5.0.1", "fd00::/8"], ["10.5.0.0/31"]];
    const apply = (index: number) => node.apply(filter([a], { blacklist: lists[index % lists.length] ?? [] }));
    await apply(0);
    const [inA, outside] = [await node.process(a), await node.process()];
    const listed = await listenUdp(outside, "10.5.0.1");
    const other = await listenUdp(outside, "10.5.0.2");
    const flood = inA.run(
      async ({ listed, other }) => {
        const { createSocket } = process.getBuiltinModule("node:dgram");
        const world = globalThis as { isOver?: boolean };
        const socket = createSocket("udp4");
        const send = (port: number, address: string) =>
          new Promise<string>((done) =>
            socket.send("x", port, address, (error: NodeJS.ErrnoException | null) => done(error?.code ?? "sent")),
          );
        const seen: Record<string, number> = {};
        while (world.isOver !== true) {
          for (const [port, address] of [
            [listed, "10.5.0.1"],
            [other, "10.5.0.2"],
          ] as const) {
            const what = `${address} ${await send(port, address)}`;
            seen[what] = (seen[what] ?? 0) + 1;
          }
          await new Promise((next) => setImmediate(next));
        }
        socket.close();
        return seen;
      },
      { listed, other },
    );
    let replaced = 0;
    for (let index = 1; index <= 20; index++) {
      const actions = await apply(index);
      replaced += actions.filter((action) => action.startsWith("replace ")).length;
    }
    await inA.run(() => void ((globalThis as { isOver?: boolean }).isOver = true), undefined);
    const seen = await flood;
    assert.equal(replaced, 20);
    assert.deepEqual(Object.keys(seen).toSorted(), ["10.5.0.1 EPERM", "10.5.0.2 sent"]);
    assert.ok((seen["10.5.0.1 EPERM"] ?? 0) > 100, `${seen["10.5.0.1 EPERM"]} packets`);
  });

  it("goes with the cgroup, and comes back with the one that is made in its place", async () => {
    const a = node.pod("a");
    const intent = filter([a], { blacklist: ["10.5.0.1"] });
    await node.apply(intent);
    const [hook] = (await node.port.observe()).hooks;
    assert.equal(hook?.isAttached, true);
    node.removeCgroup(a);
    assert.deepEqual(
      (await node.port.observe()).hooks.map(({ isAttached }) => isAttached),
      [false],
    );
    const again = node.pod("a");
    assert.equal(again.path, a.path);
    // Gone and made anew before anybody looked: the plan is the same.
    await node.apply(intent);
    assert.deepEqual(
      (await node.port.observe()).hooks.map(({ isAttached }) => isAttached),
      [true],
    );
    const [inA, outside] = [await node.process(again), await node.process()];
    const port = await listenUdp(outside, "10.5.0.1");
    assert.deepEqual(await sendUdp(inA, { address: "10.5.0.1", port }, 1), { sent: 0, refused: { EPERM: 1 } });
    await node.end(inA);
    node.removeCgroup(again);
    await node.apply(intent);
    assert.deepEqual((await node.port.observe()).hooks, []);
  });

  it("is adopted by the next daemon as it is, and taken off when nobody wants it", async () => {
    const a = node.pod("a");
    const intent = filter([a], { directions: ["ingress", "egress"], blacklist: ["10.5.0.1"], accounting: true });
    await node.apply(intent);
    await node.reopen();
    assert.deepEqual(await node.apply(intent), []);
    const [inA, outside] = [await node.process(a), await node.process()];
    const to = { address: "10.5.0.1", port: await listenUdp(outside, "10.5.0.1") };
    assert.deepEqual(await sendUdp(inA, to, 1), { sent: 0, refused: { EPERM: 1 } });
    await node.apply();
    assert.deepEqual(await sendUdp(inA, to, 1), { sent: 1, refused: {} });
    const { maps, programs, hooks } = await node.port.observe();
    assert.deepEqual([maps, programs, hooks], [[], [], []]);
  });

  it("counts on when the control of what pods send is switched on and off", async () => {
    const a = node.pod("a");
    const inA = await node.process(a);
    const port = await listenUdp(inA, "10.5.0.1");
    const both = filter([a], { directions: ["ingress", "egress"], accounting: true });
    const divided = [
      filter([a], { accounting: true, blacklist: ["10.6.0.1"] }),
      filter([a], { directions: ["ingress"], accounting: true }),
    ];
    for (const intents of [[both], divided, [both]]) {
      await node.apply(...intents);
      await sendUdp(inA, { address: "10.5.0.1", port }, 10);
    }
    for (const direction of ["ingress", "egress"]) {
      assert.equal((await reasons(node, `f/${direction}/default/a`))["allowed"]?.[0], 30, direction);
    }
  });

  it("attaches once to a cgroup that two pods name in different ways", async () => {
    const a = node.pod("a");
    const same = { ...a, pod: "same", path: a.path.slice(1) };
    await node.apply(filter([a, same], { blacklist: ["10.5.0.1"] }));
    assert.equal((await node.port.observe()).hooks.length, 1);
  });
});
