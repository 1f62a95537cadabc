/**
 * The whole product once through, on any kernel from 5.10 on: `make test-kernels` runs this in others
 * than the machine's own.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { closeTcp, connectTcp, listenTcp, listenUdp, sendUdp } from "@bpfleet/native/testing";
import { SmallNode } from "./small-node.ts";

const kinds = join(import.meta.dirname, "../../packages/kinds/src");
const samples = join(kinds, "networking.fos1.io");
const program = (name: string): string => join(samples, "ebpfprogram/samples", `${name}.yaml`);
const blacklistMap = join(samples, "ebpfmap/samples/blacklist-map.yaml");
const filter = readFileSync(program("xdp-packet-filter"), "utf8");
const metadataServer = "169.254.169.254";

const [client, listed, inListedNetwork, atIngress, atEgress, atSecond] = [
  "10.9.0.2",
  "192.168.1.100",
  "10.10.10.7",
  "203.0.113.9",
  "203.0.113.10",
  "203.0.113.11",
] as const;

const further = (name: string, type: string, address: string): string =>
  `apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFProgram\nmetadata: {name: ${name}}\n` +
  `spec: {type: ${type}, interface: eth0, settings: {blacklist: {enabled: true, ips: ["${address}"]}}}\n---\n`;

interface Offer {
  readonly has: boolean;
  readonly why?: string;
}

interface Status {
  readonly state?: string;
  readonly mode?: string;
  readonly metrics?: {
    readonly packetsDropped: number;
    readonly packetsRateLimited?: number;
    readonly rules: readonly { readonly rule: string; readonly packets: number }[];
    readonly pods?: readonly { readonly gauges: Readonly<Record<string, number>> }[];
  };
}

const isActive = ({ state }: Status): boolean => state === "Active";

describe("a whole node", () => {
  let node: SmallNode;
  let offers: Readonly<Record<string, Offer>>;
  before(async () => {
    node = await SmallNode.make([listed, inListedNetwork, atIngress, atEgress, atSecond]);
    await node.up();
  });
  after(() => node[Symbol.asyncDispose]());

  async function programIds(): Promise<readonly number[]> {
    const programs = JSON.parse(await node.do("prog", "list", "--ours", "-o", "json")) as { readonly id: number }[];
    return programs.map(({ id }) => id).toSorted((a, b) => a - b);
  }

  it("measures what the kernel offers", async (t) => {
    const { kernel } = JSON.parse(await node.do("version", "-o", "json")) as {
      kernel: { release: string; offers: Readonly<Record<string, Offer>> };
    };
    ({ offers } = kernel);
    for (const [name, { has, why }] of Object.entries(offers)) t.diagnostic(`${name}: ${has ? "yes" : why}`);
    const [major = 0, minor = 0] = kernel.release.split(".").map(Number);
    for (const name of ["btf", "cgroup2", "ringbuf", "chainInline", "chainStub"])
      assert.deepEqual(offers[name], { has: true }, name);
    assert.equal(offers["tcx"]?.has, major > 6 || (major === 6 && minor >= 6));
  });

  it("puts the documents' samples into force", async () => {
    assert.equal(node.ping(listed), 3);
    await node.do("apply", "-f", program("xdp-packet-filter"), "-f", blacklistMap);
    assert.equal((await node.status("xdp-packet-filter", isActive)).mode, "native");
    assert.deepEqual([node.ping(client), node.ping(listed), node.ping(inListedNetwork)], [3, 0, 0]);
    const { metrics } = await node.status<Status>("xdp-packet-filter", (seen) => seen.metrics?.packetsDropped === 6);
    assert.deepEqual(metrics?.rules.map(({ rule, packets }) => [rule, packets]).toSorted(), [
      ["10.10.10.0/24", 3],
      ["192.168.1.100", 3],
    ]);
  });

  it("explains a verdict with the line of YAML", async () => {
    const { exitCode, out, err } = await node.run(["explain", "-i", "eth0", "--from", inListedNetwork]);
    assert.equal(exitCode, 3, err);
    assert.match(out, /xdp-packet-filter\.yaml:18/);
    assert.match(out, /^verdict: drop \(XDP_DROP\)$/m);
  });

  it("swaps a program for one with a lower limit, which holds", async () => {
    const before = await programIds();
    await node.apply(filter.replace("packetsPerSecond: 10000", "packetsPerSecond: 5"));
    assert.notDeepEqual(await programIds(), before);
    const received = node.ping(client, 200);
    assert.ok(received >= 5 && received < 150, `${received} of 200 at 5 in a second`);
    assert.equal(node.ping(listed), 0);
    await node.apply(filter);
    assert.equal(node.ping(client), 3);
  });

  it("filters at tc both ways, by links or by filters", async () => {
    await node.apply(further("in", "tc-ingress", atIngress) + further("out", "tc-egress", atEgress));
    const mode = offers["tcx"]?.has === true ? "tcx" : "cls_bpf";
    for (const name of ["in", "out"]) {
      const there = (await node.status<Status>(name, isActive)).mode ?? "";
      assert.equal(there.split(", ")[0], mode);
    }
    assert.deepEqual([node.ping(client), node.ping(atIngress), node.ping(atEgress)], [3, 0, 0]);
    const filters = node.onNode("tc", "filter", "show", "dev", "eth0", "ingress");
    assert.equal(/\bbpf\b/.test(filters), mode === "cls_bpf", filters);
  });

  it("runs two programs on one interface", async (t) => {
    await node.apply(further("second", "xdp", atSecond));
    const { mode } = await node.status<Status>("second", isActive);
    assert.match(mode ?? "", /^native, (inline|stub)$/);
    t.diagnostic(`second: ${mode}`);
    assert.deepEqual([node.ping(client), node.ping(listed), node.ping(atSecond)], [3, 0, 0]);
  });

  it("is adopted by the next daemon when one was killed, and decides meanwhile", async () => {
    const before = await programIds();
    await node.end("SIGKILL");
    assert.deepEqual([node.ping(client), node.ping(listed), node.ping(atIngress), node.ping(atSecond)], [3, 0, 0, 0]);
    await node.up();
    await node.status<Status>("second", isActive);
    assert.deepEqual(await programIds(), before);
    assert.deepEqual([node.ping(client), node.ping(listed), node.ping(atEgress)], [3, 0, 0]);
  });

  it("counts and controls a pod, its devices and its connections", async (t) => {
    if (node.podCgroup === undefined) return t.skip("no cgroup v2");
    const pod = readFileSync(join(kinds, "core/pod/samples/web.yaml"), "utf8");
    await node.apply(pod.replace("bpfleet.io/cgroup: bpfleet/web", `bpfleet.io/cgroup: ${node.podCgroup}`));
    await node.do("apply", "-f", program("pod-accounting"), "-f", program("socket-monitoring"));
    for (const name of ["pod-accounting", "socket-monitoring"])
      assert.equal((await node.status(name, isActive)).mode, "cgroup");
    node.addAddress(`${metadataServer}/32`);
    const web = await node.pod();
    const port = await listenUdp(web, "10.9.0.1");
    assert.deepEqual(await sendUdp(web, { address: "10.9.0.1", port }, 5), { sent: 5, refused: {} });
    assert.deepEqual(await sendUdp(web, { address: metadataServer, port }, 3), { sent: 0, refused: { EPERM: 3 } });
    assert.deepEqual(await connectTcp(web, { address: "10.9.0.1", port: await listenTcp(web, "10.9.0.1") }, 2), []);
    await closeTcp(web, 2);
    await node.status<Status>("pod-accounting", ({ metrics }) => metrics?.packetsDropped === 3);
    await node.status<Status>("socket-monitoring", ({ metrics }) => {
      const gauges = metrics?.pods?.[0]?.gauges;
      return gauges?.["connections_opened"] === 2 && gauges["connections_accepted"] === 2;
    });
  });

  it("is gone after cleanup, with its filters and their qdisc", async () => {
    await node.end("SIGTERM");
    await node.do("cleanup");
    for (const from of [listed, atIngress, atEgress, atSecond]) assert.equal(node.ping(from), 3);
    assert.doesNotMatch(node.onNode("tc", "qdisc", "show", "dev", "eth0"), /clsact/);
    assert.doesNotMatch(node.onNode("ip", "link", "show", "dev", "eth0"), /xdp/);
  });
});
