import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { PodCgroup } from "../filter/intent.ts";
import { startPodNode, type PodNode } from "../testing/pod-node.ts";
import { closeTcp, connectTcp, listenTcp } from "@bpfleet/native/testing";
import type { SocketsIntent } from "./intent.ts";

function watch(name: string, ...pods: readonly PodCgroup[]): SocketsIntent {
  const object = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name };
  return { feature: "sockets", origin: { object, path: "/spec" }, pods, priority: 10 };
}

/** Opened, accepted, closed and active connections of `OBJECT/POD`; waits until they are so. */
async function expectCounts(node: PodNode, instance: string, expected: readonly number[]): Promise<void> {
  const [object, pod] = instance.split("/");
  let counts: readonly number[] = [];
  for (let left = 250; left > 0 && counts.join() !== expected.join(); left--) {
    const gauges = (await node.counters()).get(`sockets/default/${object}/default/${pod}`)?.gauges ?? {};
    counts = ["opened", "accepted", "closed", "active"].map((what) => Number(gauges[`connections_${what}`]));
    await sleep(20);
  }
  assert.deepEqual(counts, expected, instance);
}

describe("sockets", async () => {
  const node = await startPodNode(afterEach);
  if (node === undefined) return it("counts the connections of pods", { skip: "no cgroup v2" });

  for (const address of ["127.0.0.1", "::1"]) {
    it(`counts every connection that is opened, accepted and closed over ${address}`, async () => {
      const [client, server] = [node.pod("client"), node.pod("server")];
      await node.apply(watch("s", client, server));
      const [inClient, inServer, outside] = [
        await node.process(client),
        await node.process(server),
        await node.process(),
      ];
      const port = await listenTcp(inServer, address);
      assert.deepEqual(await connectTcp(inClient, { address, port }, 20), []);
      await expectCounts(node, "s/client", [20, 0, 0, 20]);
      await expectCounts(node, "s/server", [0, 20, 0, 20]);
      assert.deepEqual(await connectTcp(outside, { address, port }, 3), []);
      await closeTcp(inClient, 8);
      await expectCounts(node, "s/client", [20, 0, 8, 12]);
      await expectCounts(node, "s/server", [0, 23, 8, 15]);
      await node.end(inClient);
      await expectCounts(node, "s/client", [20, 0, 20, 0]);
      await expectCounts(node, "s/server", [0, 23, 20, 3]);
    });
  }

  it("does not count connections that nobody accepted", async () => {
    const client = node.pod("client");
    await node.apply(watch("s", client));
    const inClient = await node.process(client);
    const port = await listenTcp(inClient, "127.0.0.1");
    const refused = await connectTcp(inClient, { address: "127.0.0.2", port: port === 9 ? 10 : 9 }, 3);
    assert.deepEqual(refused, ["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED"]);
    await expectCounts(node, "s/client", [0, 0, 0, 0]);
  });

  it("leaves out what was open before, also when another program had asked for its events", async () => {
    const client = node.pod("client");
    await node.apply(watch("first", client));
    const [inClient, outside] = [await node.process(client), await node.process()];
    const port = await listenTcp(outside, "127.0.0.1");
    await connectTcp(inClient, { address: "127.0.0.1", port }, 2);
    await node.apply(watch("first", client), watch("second", client));
    await connectTcp(inClient, { address: "127.0.0.1", port }, 1);
    await expectCounts(node, "second/client", [1, 0, 0, 1]);
    await closeTcp(inClient, 3);
    await expectCounts(node, "first/client", [3, 0, 3, 0]);
    await expectCounts(node, "second/client", [1, 0, 1, 0]);
  });

  it("goes on counting when the program is replaced, and when the daemon starts anew", async () => {
    const client = node.pod("client");
    await node.apply(watch("s", client));
    const [inClient, outside] = [await node.process(client), await node.process()];
    const port = await listenTcp(outside, "127.0.0.1");
    await connectTcp(inClient, { address: "127.0.0.1", port }, 4);
    await node.reopen();
    assert.deepEqual(await node.apply(watch("s", client)), []);
    node.release.isLater = true;
    const actions = await node.apply(watch("s", client));
    assert.deepEqual(
      actions.map((action) => action.split(" ")[0]),
      ["load", "replace", "remove"],
    );
    await closeTcp(inClient, 3);
    await expectCounts(node, "s/client", [4, 0, 3, 1]);
  });

  it("counts for a pod what happens in the cgroups below its own", async () => {
    const outer = node.pod("outer");
    const inner = node.pod("outer/inner");
    await node.apply(watch("s", outer, inner));
    const [inInner, outside] = [await node.process(inner), await node.process()];
    const port = await listenTcp(outside, "127.0.0.1");
    await connectTcp(inInner, { address: "127.0.0.1", port }, 2);
    await closeTcp(inInner, 1);
    await expectCounts(node, "s/inner", [2, 0, 1, 1]);
    await expectCounts(node, "s/outer", [2, 0, 1, 1]);
  });
});
