import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { LineProcess, until } from "@bpfleet/daemon/testing";
import type { KubeObject } from "@bpfleet/kinds";
import type { DnsAnswers } from "./policy-rig/dns-server.ts";
import type { NameAnswer } from "./policy-rig/name-client.ts";
import { gatewayIpv4, podKey, rigPod } from "./policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [client, dns] = [rigPod("x", "client", 1), rigPod("kube-system", "dns", 2)];
/** Hosts of the world: nothing knows them as pods. */
const [api, cdn, bad] = [rigPod("world", "api", 101), rigPod("world", "cdn", 102), rigPod("world", "bad", 103)];
const pods = [client, dns];
const world = [api, cdn, bad];
const folder = join(import.meta.dirname, "policy-rig");

type Names = readonly ({ readonly matchName: string } | { readonly matchPattern: string })[];

function policy(
  toFQDNs: Names,
  asked: Names = [{ matchPattern: "*" }],
  port = "80",
): KubeObject & { readonly spec: object } {
  const endpoints = { matchLabels: { "k8s:io.kubernetes.pod.namespace": "kube-system", app: "dns" } };
  const spec = {
    endpointSelector: { matchLabels: { app: "client" } },
    egress: [
      {
        toEndpoints: [endpoints],
        toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], rules: { dns: asked } }],
      },
      { toFQDNs, toPorts: [{ ports: [{ port, protocol: "TCP" }] }] },
    ],
  };
  return { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "names", namespace: "x" }, spec };
}

/** A server of DNS in one pod, and the resolver of libc in another. */
class NameRig implements AsyncDisposable {
  readonly rig: PolicyRig;
  readonly #server: LineProcess;
  readonly #client: LineProcess;

  private constructor(rig: PolicyRig, server: LineProcess, ofClient: LineProcess) {
    this.rig = rig;
    this.#server = server;
    this.#client = ofClient;
  }

  static async make(): Promise<NameRig> {
    const rig = await PolicyRig.make("routed", [...pods, ...world]);
    const { network } = rig;
    await rig.change({
      write: [
        ...["x", "kube-system"].map((name) => namespaceObject(name, { "kubernetes.io/metadata.name": name })),
        ...pods.map((pod) => podObject(pod, network.netnsOf(pod), { app: pod.name })),
      ],
    });
    const { dir } = network.sandbox;
    const resolv = join(dir, "resolv.conf");
    writeFileSync(resolv, `nameserver ${dns.ipv4}\noptions timeout:1 attempts:2\n`);
    const nsswitch = join(dir, "nsswitch.conf");
    writeFileSync(nsswitch, "hosts: dns\n");
    const mounts = `mount --bind ${resolv} /etc/resolv.conf && mount --bind ${nsswitch} /etc/nsswitch.conf && exec "$@"`;
    const server = new LineProcess(network.netnsOf(dns), join(folder, "dns-server.ts"), []);
    assert.equal(await server.read(), "ready", server.log);
    const inPod = new LineProcess(
      network.netnsOf(client),
      join(folder, "name-client.ts"),
      [],
      ["unshare", "-m", "sh", "-c", mounts, "sh"],
    );
    return new NameRig(rig, server, inPod);
  }

  async answer(answers: DnsAnswers): Promise<void> {
    this.#server.write(JSON.stringify(answers));
    assert.equal(await this.#server.read(), "changed", this.#server.log);
  }

  async ask(line: string): Promise<readonly NameAnswer[]> {
    this.#client.write(line);
    const text = await this.#client.read();
    assert.ok(text !== undefined, this.#client.log);
    return JSON.parse(text) as readonly NameAnswer[];
  }

  /** What became of it. */
  async met(name: string, port = 80, family: 4 | 6 = 4): Promise<string> {
    return (await this.ask(`${name} ${port} ${family}`))[0]?.met ?? "";
  }

  /** What `ebpfctl policy names` counts too. */
  async counted(what: string): Promise<number> {
    return (await this.rig.metric("bpfleet_object_state", `what="names_${what}"`)) ?? 0;
  }

  async connects(to: string, port = 80): Promise<boolean> {
    const [met] = await this.rig.prober.probe([{ from: podKey(client), to, protocol: "TCP", port }], 300);
    return met === "answered";
  }

  async put(object: KubeObject): Promise<void> {
    const { objects, trouble } = await this.rig.change({ write: [object] });
    assert.equal(trouble, undefined);
    const own = objects.find(({ ref }) => ref.name === object.metadata.name);
    assert.deepEqual(
      own?.messages.filter((text) => text !== "in force"),
      [],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
    await this.#server[Symbol.asyncDispose]();
    await this.rig[Symbol.asyncDispose]();
  }
}

describe("names of DNS as peers, with a real server and a real resolver", () => {
  let names: NameRig;
  before(async () => {
    names = await NameRig.make();
    await names.answer({
      records: {
        "api.example.org": [
          { name: "api.example.org", type: "A", data: api.ipv4 },
          { name: "api.example.org", type: "AAAA", data: api.ipv6 },
        ],
        "other.example.org": [{ name: "other.example.org", type: "A", data: bad.ipv4 }],
      },
    });
  });
  after(() => names?.[Symbol.asyncDispose]());

  it("a connection passes right after the answer, and to nobody else", async () => {
    await names.put(policy([{ matchName: "api.example.org" }]));
    assert.equal(await names.connects(api.ipv4), false);
    assert.equal(await names.met("api.example.org"), "connected");
    assert.equal(await names.connects(api.ipv4), true);
    assert.equal(await names.connects(api.ipv4, 81), false);
    assert.equal(await names.met("other.example.org"), "connect: nothing");
    assert.equal(await names.connects(cdn.ipv4), false);
  });

  it("patterns mean whom they match; a question that no rule names is refused, in whatever letters", async () => {
    await names.answer({
      records: {
        "a.cdn.test": [{ name: "a.cdn.test", type: "A", data: cdn.ipv4 }],
        "a.b.cdn.test": [{ name: "a.b.cdn.test", type: "A", data: bad.ipv4 }],
        "evil.test": [{ name: "evil.test", type: "A", data: bad.ipv4 }],
      },
    });
    await names.put(policy([{ matchPattern: "*.cdn.test" }], [{ matchPattern: "**.cdn.test" }]));
    assert.equal(await names.met("A.cDn.TEST"), "connected");
    assert.equal(await names.met("a.b.cdn.test"), "connect: nothing");
    assert.match(await names.met("evil.test"), /^lookup: /);
  });

  it("an alias leads to the addresses of its target, and records of others teach nothing", async () => {
    await names.answer({
      records: {
        "www.shop.test": [
          { name: "www.shop.test", type: "CNAME", data: "edge.shop.test" },
          { name: "edge.shop.test", type: "CNAME", data: "node.cdn.test" },
          { name: "node.cdn.test", type: "A", data: api.ipv4 },
          { name: "someone.else.test", type: "A", data: bad.ipv4 },
        ],
      },
    });
    await names.put(policy([{ matchName: "www.shop.test" }]));
    assert.equal(await names.met("www.shop.test"), "connected");
    assert.equal(await names.connects(bad.ipv4), false);
  });

  it("IPv6 addresses are learnt as well", async () => {
    await names.answer({ records: { "six.test": [{ name: "six.test", type: "AAAA", data: cdn.ipv6 }] } });
    await names.put(policy([{ matchName: "six.test" }]));
    assert.equal(await names.connects(cdn.ipv6), false);
    assert.equal(await names.met("six.test", 80, 6), "connected");
  });

  it("edits keep what was learnt, under names that are still meant", async () => {
    await names.answer({ records: { "kept.test": [{ name: "kept.test", type: "A", data: cdn.ipv4 }] } });
    await names.put(policy([{ matchName: "kept.test" }]));
    assert.equal(await names.met("kept.test"), "connected");
    await names.put(policy([{ matchPattern: "k*.test" }, { matchName: "other.test" }]));
    assert.equal(await names.connects(cdn.ipv4), true);
    await names.put(policy([{ matchName: "other.test" }]));
    assert.equal(await names.connects(cdn.ipv4), false);
  });

  it("names never mean pods, and truncated answers teach nothing", async () => {
    await names.answer({
      records: {
        "pod.test": [{ name: "pod.test", type: "A", data: dns.ipv4 }],
        "cut.test": [{ name: "cut.test", type: "A", data: bad.ipv4 }],
      },
      truncated: ["cut.test"],
    });
    await names.put(policy([{ matchPattern: "*" }]));
    assert.equal(await names.met("pod.test"), "connect: nothing");
    const [cut, byTcp] = [await names.counted("cut"), await names.counted("by_tcp")];
    assert.equal(await names.met("cut.test"), "connect: nothing", "heard by TCP");
    await until("it is counted", async () => (await names.counted("cut")) > cut);
    await until("and how it was heard", async () => (await names.counted("by_tcp")) > byTcp);
  });

  it("an answer in fragments is heard, teaches nothing, and is counted; in one piece it teaches", async () => {
    const { network } = names.rig;
    const inPieces = (...mtu: readonly string[]): void =>
      void network.sandbox.ip(
        ...([network.netnsOf(dns), "route", "change", "default", "via", gatewayIpv4, "dev", "eth0"].concat(mtu) as [
          string,
        ]),
      );
    const records = Array.from({ length: 40 }, () => ({ name: "wide.example", type: "A", data: bad.ipv4 }) as const);
    await names.answer({ records: { "wide.example": records } });
    await names.put(policy([{ matchPattern: "*" }]));
    const before = await names.counted("in_fragments");
    inPieces("mtu", "600");
    assert.equal(await names.met("wide.example"), "connect: nothing");
    assert.equal(await names.connects(bad.ipv4), false);
    await until("it is counted", async () => (await names.counted("in_fragments")) > before);
    inPieces();
    assert.equal(await names.met("wide.example"), "connected");
  });

  it("an answer with another id, to another question or from elsewhere teaches nothing", async () => {
    await names.answer({
      records: { "true.test": [{ name: "true.test", type: "A", data: api.ipv4 }] },
      forged: bad.ipv4,
    });
    await names.put(policy([{ matchPattern: "**.test" }]));
    assert.equal(await names.met("true.test"), "connected");
    assert.equal(await names.connects(bad.ipv4), false);
    assert.equal(await names.connects(api.ipv4), true);
  });

  it("what is tried out beside them learns names as well, and tells what it would drop", async () => {
    await names.answer({
      records: {
        "one.test": [{ name: "one.test", type: "A", data: api.ipv4 }],
        "two.test": [{ name: "two.test", type: "A", data: cdn.ipv4 }],
      },
    });
    const foretell = async (isSo: (drop: number, pass: number) => boolean): Promise<void> => {
      let told = "";
      for (let patience = 200; patience > 0; patience--) {
        const { objects } = await names.rig.change({});
        told = JSON.stringify(objects.find(({ ref }) => ref.name === "tried"));
        const [, drop, pass] = /on its pods (\d+) flows that pass would be dropped, (\d+) that/.exec(told) ?? [];
        if (isSo(Number(drop), Number(pass))) return;
        await sleep(100);
      }
      assert.fail(told);
    };
    const tried = policy([{ matchName: "two.test" }]);
    const shadow = {
      ...tried,
      metadata: { ...tried.metadata, name: "tried", annotations: { "bpfleet.io/mode": "shadow" } },
    };
    const first = policy([{ matchName: "one.test" }], [{ matchPattern: "*.test" }]);
    await names.rig.change({ write: [first, shadow] });
    assert.equal(await names.met("one.test"), "connected");
    await foretell((drop, pass) => drop === 0 && pass === 0);
    assert.equal(await names.met("two.test"), "connect: nothing");
    await foretell((drop, pass) => drop === 0 && pass > 0);
    await names.rig.change({ remove: [refOfPolicy(first)] });
    assert.equal(await names.met("two.test"), "connected");
    await foretell((drop) => drop === 0);
    assert.equal(await names.met("one.test"), "connected");
    await foretell((drop) => drop > 0);
    await names.rig.change({ remove: [refOfPolicy(shadow)] });
  });

  it("1,000 connections pass, each right after the answer that first named its address", async () => {
    const { network } = names.rig;
    network.sandbox.ip(network.netnsOf(cdn), "route", "add", "local", "10.99.0.0/16", "dev", "lo");
    network.sandbox.ip(network.node.name, "route", "add", "10.99.0.0/16", "via", cdn.ipv4);
    await names.answer({ records: {}, pool: { name: "pool.test", base: "10.99" } });
    await names.put(policy([{ matchPattern: "*.pool.test" }]));
    const answers = await names.ask("pool.test 80 4 0 1000");
    assert.equal(answers.length, 1000);
    assert.deepEqual(
      answers.filter(({ met }) => met !== "connected"),
      [],
    );
  });
});
