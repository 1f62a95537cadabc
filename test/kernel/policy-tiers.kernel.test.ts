import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { after, before, describe, it, test } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { gatewayIpv4, podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import type { Met, Protocol } from "./policy-rig/prober.ts";
import { families, namespaceObject, notAsWritten, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [a, b, other] = [rigPod("x", "a", 1), rigPod("x", "b", 2), rigPod("y", "a", 3)];
const pods = [a, b, other];
const ports = [22, 53, 80, 81];
const patientMs = 400;

function podConfig(
  name: string,
  l4Firewall: object,
  app?: string,
): KubeObject & { readonly spec: { readonly ebpfConfig: object } } {
  const podSelector = app === undefined ? undefined : { matchLabels: { app } };
  const spec = { podSelector, ebpfConfig: { l4Firewall: { enabled: true, ...l4Firewall } } };
  const metadata = { name, namespace: "x" };
  return { apiVersion: "podconfig.example.com/v1alpha1", kind: "PodConfigMapConfig", metadata, spec };
}

function containerPolicy(
  name: string,
  networkControls: object,
  priority = 1000,
): KubeObject & { readonly spec: object } {
  const spec = {
    selector: { podSelector: { matchLabels: { app: "a" } } },
    resourceLimits: { enableAccounting: false },
    networkControls,
    priority,
  };
  const metadata = { name, namespace: "x" };
  return { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFContainerPolicy", metadata, spec };
}

function networkPolicy(port: number): KubeObject {
  const spec = { podSelector: { matchLabels: { app: "a" } }, ingress: [{ ports: [{ protocol: "TCP", port }] }] };
  const metadata = { name: "n", namespace: "x" };
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec };
}

interface PodMetrics {
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly blocked: number;
}

/** Lines that Prometheus reads. */
async function metricsOf(rig: PolicyRig): Promise<readonly string[]> {
  const asked = request({ socketPath: join(rig.network.sandbox.dir, "node.sock.metrics"), path: "/metrics" });
  asked.end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return (await text(answer)).split("\n");
}

function withMetrics(config: ReturnType<typeof podConfig>): KubeObject {
  const { ebpfConfig } = config.spec;
  return { ...config, spec: { ...config.spec, ebpfConfig: { ...ebpfConfig, metricsExport: { enabled: true } } } };
}

function numberIn(told: readonly string[], pod: string, type: string): number {
  const head = `podconfigmap_controller_ebpf_l4_firewall_total{namespace="x",pod_name="${pod}",stat_type="${type}"} `;
  return Number(told.find((line) => line.startsWith(head))?.slice(head.length));
}

describe("containers and their ports, with real packets", () => {
  let rig: PolicyRig;
  before(async () => {
    rig = await PolicyRig.make("routed", pods, { ports });
    await rig.change({
      write: [
        ...["x", "y"].map((name) => namespaceObject(name, { env: name })),
        ...pods.map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name })),
      ],
    });
  });
  after(() => rig?.[Symbol.asyncDispose]());

  async function within(objects: readonly KubeObject[], check: () => Promise<void>): Promise<void> {
    const answer = await rig.change({ write: objects });
    try {
      assert.equal(answer.trouble, undefined, rig.log);
      assert.deepEqual(
        answer.objects.filter(({ state }) => state !== "in-force"),
        [],
        rig.log,
      );
      await check();
    } finally {
      await rig.change({ remove: objects.map(refOfPolicy) });
    }
  }

  /** What is answered, by both families alike: `TCP/80 UDP/80`. */
  async function answered(from: RigPod, to: RigPod, protocols: readonly Protocol[] = ["TCP", "UDP"]): Promise<string> {
    const found = [];
    for (const family of families) {
      const probes = protocols.flatMap((protocol) =>
        (protocol === "ICMP" ? [0] : ports).map((port) => ({ from: podKey(from), to: to[family], protocol, port })),
      );
      const met = await rig.prober.probe(probes, patientMs);
      const open = probes.filter((_, at) => met[at] === "answered");
      found.push(open.map(({ protocol, port }) => `${protocol}/${port}`).join(" "));
    }
    const [first, second] = found;
    assert.equal(first, second);
    return first ?? "";
  }

  async function firewallMetrics(): Promise<readonly string[]> {
    return (await metricsOf(rig)).filter((line) => line.startsWith("podconfigmap_controller_ebpf_"));
  }

  it("l4Firewall of several objects: blocked by any, else allowed by any, else as any says by default", async () => {
    const objects = [
      podConfig("blocking", { defaultAction: "allow", blockedPorts: [22], allowedPorts: [53] }),
      podConfig("closing", { defaultAction: "block", allowedPorts: [80, 22] }, "a"),
    ];
    await within(objects, async () => {
      assert.equal(await answered(b, a), "TCP/53 TCP/80 UDP/53 UDP/80");
      assert.equal(await answered(other, b), "TCP/53 TCP/80 TCP/81 UDP/53 UDP/80 UDP/81");
      const everything = ["TCP", "UDP"].flatMap((protocol) => ports.map((port) => `${protocol}/${port}`));
      assert.equal(
        await answered(a, other, ["TCP", "UDP", "ICMP"]),
        [...everything, "ICMP/0"].join(" "),
        "what it asks is answered, at ports that nobody may ask",
      );
    });
  });

  it("l4Firewall lets nothing pass that a NetworkPolicy does not, nor the other way round", async () => {
    const objects = [podConfig("closing", { defaultAction: "block", allowedPorts: [80, 81] }), networkPolicy(81)];
    await within(objects, async () => {
      assert.equal(await answered(other, a), "TCP/81");
      assert.equal(await answered(other, b), "TCP/80 TCP/81 UDP/80 UDP/81");
    });
    await within([podConfig("closing", { defaultAction: "block", allowedPorts: [80] }), networkPolicy(81)], async () =>
      assert.equal(await answered(other, a), ""),
    );
  });

  it("EBPFContainerPolicy: the first rule that is met decides, by priority, else the default of the direction", async () => {
    const objects = [
      containerPolicy("a", {
        enableIngressControl: true,
        enableEgressControl: true,
        defaultIngressAction: "deny",
        defaultEgressAction: "deny",
        ingressRules: [
          { ipBlock: { cidr: `${b.ipv4}/32` }, ports: [{ protocol: "TCP", port: 80, endPort: 81 }], action: "deny" },
          { ipBlock: { cidr: `${b.ipv6}/128` }, ports: [{ protocol: "TCP", port: 80, endPort: 81 }], action: "deny" },
          {
            ports: [
              { protocol: "TCP", port: 80 },
              { protocol: "TCP", port: 22 },
            ],
          },
        ],
        egressRules: [{ ports: [{ protocol: "UDP", port: 53 }] }],
      }),
      containerPolicy("b", { enableIngressControl: true, ingressRules: [{ ports: [{ port: 81 }] }] }, 1),
    ];
    await within(objects, async () => {
      assert.equal(await answered(other, a), "TCP/22 TCP/80 TCP/81");
      assert.equal(await answered(b, a), "TCP/22 TCP/81");
      assert.equal(await answered(a, other, ["TCP", "UDP", "ICMP"]), "UDP/53");
      assert.equal(await answered(other, b, ["ICMP"]), "ICMP/0");
    });
  });

  it("l4Firewall is told by its metrics, where they are exported, for each pod", async () => {
    const firewall = podConfig("f", { defaultAction: "block", allowedPorts: [80] });
    const exported = withMetrics(firewall);
    await within([exported], async () => {
      assert.equal(await answered(other, a), "TCP/80 UDP/80");
      const told = await firewallMetrics();
      const numberOf = (pod: string, type: string): number => numberIn(told, pod, type);
      assert.ok(numberOf("a", "allowed") >= 8 && numberOf("a", "blocked") >= 12, told.join("\n"));
      assert.ok(numberOf("a", "tcp_packets") > numberOf("a", "udp_packets"), told.join("\n"));
      assert.equal(
        numberOf("a", "tcp_packets") + numberOf("a", "udp_packets"),
        numberOf("a", "allowed") + numberOf("a", "blocked"),
      );
      assert.deepEqual([numberOf("b", "allowed"), numberOf("b", "blocked")], [0, 0]);
      assert.ok(
        told.includes(
          'podconfigmap_controller_ebpf_attached_programs{namespace="x",pod_name="a",program_type="l4_firewall"} 1',
        ),
      );
    });
    await within([firewall], async () =>
      assert.deepEqual(
        (await metricsOf(rig)).filter((line) => line.startsWith("podconfigmap_controller_")),
        [],
      ),
    );
  });

  it("l4Firewall counts as blocked each packet of a connection that is open when its port is blocked", async () => {
    await within([withMetrics(podConfig("f", { defaultAction: "block", allowedPorts: [80] }))], async () => {
      const probe = { from: podKey(other), to: a.ipv4, protocol: "TCP", port: 80 } as const;
      const flow = (await rig.prober.open(probe)) ?? assert.fail("not let through");
      assert.equal(await rig.prober.poke(flow, patientMs), "answered");
      await rig.change({ write: [withMetrics(podConfig("f", { defaultAction: "allow", blockedPorts: [80] }))] });
      const before = numberIn(await firewallMetrics(), "a", "blocked");
      for (let times = 0; times < 4; times++) assert.notEqual(await rig.prober.poke(flow, patientMs), "answered");
      await rig.prober.close(flow);
      const told = await firewallMetrics();
      assert.ok(numberIn(told, "a", "blocked") >= before + 4, told.join("\n"));
      assert.equal(
        numberIn(told, "a", "tcp_packets") + numberIn(told, "a", "udp_packets"),
        numberIn(told, "a", "allowed") + numberIn(told, "a", "blocked"),
        told.join("\n"),
      );
    });
  });

  it("EBPFContainerPolicy counts what its pods receive and send, and what is refused", async () => {
    const egress = { enableEgressControl: true, egressRules: [{ ports: [{ port: 81 }], action: "deny" }] };
    const policy = containerPolicy("a", egress);
    const counting = { ...policy, spec: { ...policy.spec, resourceLimits: {} } };
    await within([counting], async () => {
      await answered(b, a);
      const received = await waitForMetrics(({ bytesIn, bytesOut }) => bytesIn > 0 && bytesOut > 0);
      assert.equal(received.blocked, 0);
      await answered(a, b, ["TCP"]);
      await waitForMetrics(({ blocked }) => blocked > 0);
    });
  });

  it("EBPFContainerPolicy limits how many connections a pod begins each second, not how many it is asked for", async () => {
    const policy = containerPolicy("a", {});
    const connectionLimits = { maxConnectionRate: 4 };
    await within([{ ...policy, spec: { ...policy.spec, resourceLimits: { connectionLimits } } }], async () => {
      const countOf = async (from: RigPod, to: RigPod): Promise<number> => {
        const probe = { from: podKey(from), to: to.ipv4, protocol: "TCP", port: 80 } as const;
        const met = await rig.prober.probe(
          Array.from({ length: 40 }, () => probe),
          patientMs,
        );
        return met.filter((each) => each === "answered").length;
      };
      const begun = await countOf(a, b);
      assert.ok(begun >= 4 && begun < 20, `${begun} of 40`);
      assert.equal(await countOf(b, a), 40);
    });
  });

  /** They are read every few seconds. */
  async function waitForMetrics(isThere: (metrics: PodMetrics) => boolean): Promise<PodMetrics> {
    for (let tries = 0; ; tries++) {
      const { objects } = await rig.change({});
      const policy = objects.find(({ ref }) => ref.kind === "EBPFContainerPolicy");
      const status = policy?.status as { readonly metrics?: PodMetrics } | undefined;
      const metrics = status?.metrics;
      if (metrics !== undefined && isThere(metrics)) return metrics;
      assert.ok(tries < 60, JSON.stringify(policy?.status));
      await setTimeout(500);
    }
  }

  it("EBPFContainerPolicy and l4Firewall must allow both, and a connection ends when one of them ceases to", async () => {
    const control = { enableIngressControl: true, defaultIngressAction: "deny" };
    const container = containerPolicy("a", { ...control, ingressRules: [{ ports: [{ port: 80 }, { port: 81 }] }] });
    const firewall = podConfig("f", { defaultAction: "block", allowedPorts: [80, 53] });
    await within([container, firewall], async () => {
      assert.equal(await answered(other, a), "TCP/80");
      const probe = { from: podKey(other), to: a.ipv4, protocol: "TCP", port: 80 } as const;
      const flow = (await rig.prober.open(probe)) ?? assert.fail("not let through");
      assert.equal(await rig.prober.poke(flow, patientMs), "answered");
      await rig.change({ write: [podConfig("f", { defaultAction: "allow", blockedPorts: [80] })] });
      assert.notEqual(await rig.prober.poke(flow, patientMs), "answered");
      assert.equal(await answered(other, a), "TCP/81");
      await rig.prober.close(flow);
    });
  });
});

test("EBPFContainerPolicy counts each packet and byte of its pods, and each packet that is refused, once", async () => {
  await using rig = await PolicyRig.make("routed", [a, b], { ports });
  stayStill(rig, [a, b]);
  const deny81 = {
    enableEgressControl: true,
    egressRules: [{ ports: [{ protocol: "UDP", port: 81 }], action: "deny" }],
  };
  const policy = containerPolicy("a", deny81);
  const declared = [a, b].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
  const { objects } = await rig.change({
    write: [namespaceObject("x", {}), ...declared, { ...policy, spec: { ...policy.spec, resourceLimits: {} } }],
  });
  assert.deepEqual(notAsWritten(objects, [refOfPolicy(policy)]), []);
  const send = async (from: RigPod, to: RigPod, protocol: Protocol, port: number, count: number): Promise<Met[]> => [
    ...(await rig.prober.probe(
      Array.from({ length: count }, () => ({ from: podKey(from), to: to.ipv4, protocol, port })),
      patientMs,
    )),
  ];
  // Each is a packet of eight bytes (of an echo: sixteen with its header) that is answered by an equal one.
  const sent = [
    { from: b, to: a, protocol: "UDP", port: 80, count: 40 },
    { from: a, to: b, protocol: "UDP", port: 80, count: 25 },
    { from: b, to: a, protocol: "ICMP", port: 0, count: 10 },
  ] as const;
  for (const { from, to, protocol, port, count } of sent)
    assert.deepEqual(new Set(await send(from, to, protocol, port, count)), new Set(["answered"]));
  assert.deepEqual(new Set(await send(a, b, "UDP", 81, 15)), new Set(["nothing"]));
  const packets = sent.reduce((sum, { count }) => sum + count, 0);
  const bytes = packets * (14 + 20 + 8 + 8);
  const stateOf = async (what: string): Promise<number> =>
    (await rig.metric("bpfleet_object_state", `what="${what}"`)) ?? 0;
  for (let tries = 0; (await stateOf("packets_in")) < packets; tries++) {
    assert.ok(tries < 60, rig.log);
    await setTimeout(500);
  }
  const told = Object.fromEntries(
    await Promise.all(
      ["packets_in", "packets_out", "bytes_in", "bytes_out", "blocked"].map(
        async (what) => [what, await stateOf(what)] as const,
      ),
    ),
  );
  assert.deepEqual(told, {
    packets_in: packets,
    packets_out: packets,
    bytes_in: bytes,
    bytes_out: bytes,
    blocked: 15,
  });
});

/** Nobody sends but who is asked to: no questions for neighbours, and nothing of IPv6, which speaks unasked. */
function stayStill({ network }: PolicyRig, still: readonly RigPod[]): void {
  const run = (netns: string, ...words: readonly string[]): string =>
    execFileSync("ip", ["netns", "exec", netns, ...words], { encoding: "utf8" });
  const neighbour = (netns: string, device: string, address: string, mac: string): void =>
    void network.sandbox.ip(netns, "neighbour", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent");
  const macOf = (netns: string, device: string): string => run(netns, "cat", `/sys/class/net/${device}/address`).trim();
  for (const pod of still) {
    const netns = network.netnsOf(pod);
    const [, device = ""] = /dev (\S+)/.exec(run(network.node.name, "ip", "route", "get", pod.ipv4)) ?? [];
    neighbour(network.node.name, device, pod.ipv4, macOf(netns, "eth0"));
    neighbour(netns, "eth0", gatewayIpv4, macOf(network.node.name, device));
  }
  for (const netns of [network.node.name, ...still.map((pod) => network.netnsOf(pod))])
    run(netns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1");
}
