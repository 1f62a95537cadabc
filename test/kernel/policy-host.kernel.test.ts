import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { nodeIpv4, nodeIpv6, podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import type { Met, Probe, Protocol } from "./policy-rig/prober.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const pods = [rigPod("x", "a", 1), rigPod("x", "b", 2), rigPod("y", "a", 3), rigPod("y", "b", 4)] as const;
const there = "172.16.0.2";
const outside: readonly RigPod[] = [there, "203.0.113.9", "10.1.2.3", "10.96.0.5"].map((ipv4, at) => ({
  ...rigPod("outside", `o${at}`, 100 + at),
  ipv4,
}));
const [a] = pods;
const world = outside[1] ?? assert.fail();
const patientMs = 1000;

function nodeObject(name: string, address: string, role = name): KubeObject {
  const status = { addresses: [{ type: "InternalIP", address }] };
  return { apiVersion: "v1", kind: "Node", metadata: { name, labels: { role } }, spec: {}, status };
}

function hostPolicy(spec: object): KubeObject {
  const base = { apiVersion: "cilium.io/v2", kind: "CiliumClusterwideNetworkPolicy", metadata: { name: "p0" } };
  return { ...base, spec: { nodeSelector: { matchLabels: { role: "rig" } }, ...spec } };
}

const ports = (...numbers: readonly number[]) => [
  { ports: numbers.map((port) => ({ port: String(port), protocol: "TCP" })) },
];
const from = (place: RigPod, to: string, protocol: Protocol, port: number): Probe => ({
  from: podKey(place),
  to,
  protocol,
  port,
});
const ofNode = (to: string, protocol: Protocol, port: number): Probe => ({ from: "node", to, protocol, port });

describe("policies of nodes, with real packets", () => {
  let rig: PolicyRig;
  before(async () => {
    rig = await PolicyRig.make("routed", [...pods, ...outside], {
      ports: [80, 8085, 53, 22, 8443],
      failSafePorts: "in:usual,tcp/8440-8450;out:udp/53",
    });
    await rig.change({
      write: [
        ...["x", "y"].map((name) => namespaceObject(name, { env: name })),
        ...pods.map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name })),
        nodeObject("rig", nodeIpv4),
        nodeObject("there", there),
      ],
    });
  });
  after(() => rig?.[Symbol.asyncDispose]());

  async function enforce(...policies: readonly KubeObject[]): Promise<void> {
    const named = policies.map((policy, at) => ({ ...policy, metadata: { ...policy.metadata, name: `p${at}` } }));
    const { trouble, objects } = await rig.change({ write: named });
    assert.equal(trouble, undefined);
    const told = objects.filter(({ ref }) => ref.kind === "CiliumClusterwideNetworkPolicy");
    assert.deepEqual(
      told.map(({ state }) => state),
      named.map(() => "in-force"),
    );
  }

  const lift = (count = 1): Promise<unknown> =>
    rig.change({
      remove: Array.from({ length: count }, (_, at) =>
        refOfPolicy({ ...hostPolicy({}), metadata: { name: `p${at}` } }),
      ),
    });

  /** What is not answered at once is given more time. */
  async function met(...probes: readonly Probe[]): Promise<readonly Met[]> {
    const quick = await rig.prober.probe(probes);
    const silent = probes.filter((_, at) => quick[at] !== "answered");
    const patient = [...(await rig.prober.probe(silent, patientMs))];
    return quick.map((each) => (each === "answered" ? each : (patient.shift() ?? "nothing")));
  }

  const nft = (...words: readonly string[]): string =>
    execFileSync("nsenter", [`--net=${rig.network.node.path}`, "nft", ...words], { encoding: "utf8" });

  it("never close fail-safe ports, as the settings say, even where everything is denied", async () => {
    await enforce(hostPolicy({ ingressDeny: [{ fromEntities: ["all"] }], egressDeny: [{ toEntities: ["all"] }] }));
    const results = await met(
      from(world, nodeIpv4, "TCP", 22),
      from(world, nodeIpv6, "TCP", 22),
      from(world, nodeIpv4, "TCP", 8443),
      ofNode(world.ipv4, "UDP", 53),
      from(world, nodeIpv4, "TCP", 80),
      ofNode(world.ipv4, "TCP", 80),
      ofNode(world.ipv4, "TCP", 53),
      ofNode(nodeIpv4, "TCP", 80),
    );
    const all = (count: number, met: Met): readonly Met[] => Array.from({ length: count }, () => met);
    assert.deepEqual(results, [...all(4, "answered"), ...all(3, "nothing"), "answered"]);
    await lift();
  });

  it("leave alone what pods send and receive, masqueraded or not", async () => {
    const nat = ["ip", "ip6"].flatMap((family) => [
      `add table ${family} nat`,
      `add chain ${family} nat post { type nat hook postrouting priority 100; }`,
    ]);
    const rules = [
      `add rule ip nat post ip saddr ${a.ipv4} counter snat to ${nodeIpv4}`,
      `add rule ip6 nat post ip6 saddr ${a.ipv6} counter snat to ${nodeIpv6}`,
    ];
    for (const command of [...nat, ...rules]) nft(command);
    await enforce(hostPolicy({ ingress: [{}], egress: [{}] }));
    const protocols = [
      ["TCP", 80],
      ["UDP", 80],
      ["ICMP", 0],
    ] as const;
    const each = (of: (to: string, protocol: Protocol, port: number) => Probe) =>
      (["ipv4", "ipv6"] as const).flatMap((family) =>
        protocols.map(([protocol, port]) => of(world[family], protocol, port)),
      );
    const all = (met: Met): readonly Met[] => Array.from({ length: 6 }, () => met);
    assert.deepEqual(await met(...each((to, protocol, port) => from(a, to, protocol, port))), all("answered"));
    assert.deepEqual(await met(...each((to, protocol, port) => from(pods[1], to, protocol, port))), all("answered"));
    assert.deepEqual(await met(...each(ofNode)), all("nothing"));
    const back = (["ipv4", "ipv6"] as const).flatMap((family) =>
      protocols.map(([protocol, port]) => from(world, family === "ipv4" ? nodeIpv4 : nodeIpv6, protocol, port)),
    );
    assert.deepEqual(await met(...back), all("nothing"));
    // They left with the address of the node.
    const counted = nft("list", "ruleset").match(/packets [1-9]\d* bytes \d+ snat to/g);
    assert.equal(counted?.length, 2);
    nft("flush", "ruleset");
    await lift();
  });

  it("cut connections that they allow no more", async () => {
    await enforce(hostPolicy({ ingress: [{ toPorts: ports(80, 8085) }] }));
    const flow = await rig.prober.open(from(world, nodeIpv4, "TCP", 80));
    const other = await rig.prober.open(from(world, nodeIpv6, "TCP", 8085));
    assert.ok(flow !== undefined && other !== undefined);
    assert.equal(await rig.prober.poke(flow, patientMs), "answered");
    await enforce(hostPolicy({ ingress: [{ toPorts: ports(8085) }] }));
    assert.equal(await rig.prober.poke(flow), "nothing");
    assert.equal(await rig.prober.poke(other, patientMs), "answered");
    for (const each of [flow, other]) await rig.prober.close(each);
    await lift();
  });

  it("let go of a node that they select no more, by its labels or by their selector, and say so", async () => {
    const closed = from(world, nodeIpv4, "TCP", 80);
    const policy = hostPolicy({ ingress: [{ toPorts: ports(8085) }] });
    const becomes = async (what: KubeObject, reason: string, expected: Met): Promise<void> => {
      const { objects } = await rig.change({ write: [what] });
      const own = objects.find(({ ref }) => ref.kind === "CiliumClusterwideNetworkPolicy");
      const status = own?.status as { readonly conditions?: readonly { type: string; reason: string }[] } | undefined;
      assert.equal(status?.conditions?.find(({ type }) => type === "Ready")?.reason, reason);
      assert.deepEqual(await met(closed), [expected]);
    };
    await enforce(policy);
    assert.deepEqual(await met(closed), ["nothing"]);
    await becomes(nodeObject("rig", nodeIpv4, "core"), "NotSelected", "answered");
    await becomes(nodeObject("rig", nodeIpv4), "Ready", "nothing");
    const others = { nodeSelector: { matchLabels: { role: "core" } }, ingress: [{ toPorts: ports(8085) }] };
    await becomes(hostPolicy(others), "NotSelected", "answered");
    await becomes(policy, "Ready", "nothing");
    await lift();
  });

  it("drop nothing while they are only tried out, foretell what they drop, and do so without the annotation", async () => {
    const spec = { ingress: [{ toPorts: ports(8085) }], egress: [{ toPorts: ports(53) }] };
    const shadow = hostPolicy(spec);
    await enforce({ ...shadow, metadata: { ...shadow.metadata, annotations: { "bpfleet.io/mode": "shadow" } } });
    const open = (["ipv4", "ipv6"] as const).flatMap((family) => {
      const own = family === "ipv4" ? nodeIpv4 : nodeIpv6;
      return [
        from(world, own, "TCP", 22),
        from(world, own, "TCP", 8085),
        ofNode(world[family], "TCP", 53),
        ofNode(world[family], "UDP", 53),
      ];
    });
    const closed = (["ipv4", "ipv6"] as const).flatMap((family) => [
      ...(["TCP", "UDP", "ICMP"] as const).map((protocol) =>
        from(world, family === "ipv4" ? nodeIpv4 : nodeIpv6, protocol, protocol === "ICMP" ? 0 : 80),
      ),
      ...(["TCP", "UDP"] as const).map((protocol) => ofNode(world[family], protocol, 80)),
    ]);
    const all = (probes: readonly Probe[], met: Met): readonly Met[] => probes.map(() => met);
    assert.deepEqual(await met(...open, ...closed), all([...open, ...closed], "answered"));
    let told = "";
    const isForetold = async (): Promise<boolean> => {
      told = JSON.stringify((await rig.change({})).objects);
      const [, drop] = /on the node itself (\d+) flows that pass would be dropped, 0 that/.exec(told) ?? [];
      return Number(drop) >= closed.length;
    };
    for (const end = performance.now() + 30_000; !(await isForetold());) assert.ok(performance.now() < end, told);
    await enforce(shadow);
    assert.deepEqual(await met(...open), all(open, "answered"));
    assert.deepEqual(await met(...closed), all(closed, "nothing"));
    await lift();
  });

  it("of the tier below decide in their order, in a direction of which the first tier does not speak", async () => {
    const spec = {
      policyType: "filtering",
      selector: { nodeSelector: { matchLabels: { role: "rig" } } },
      ingress: [
        { from: [{ podSelector: { matchLabels: { app: "b" } } }], ports: [{ port: 80 }], action: "deny" },
        { ports: [{ port: 80 }] },
        { from: [{ ipBlock: { cidr: `${world.ipv4}/32` } }], ports: [{ port: 8085 }] },
        { action: "deny" },
      ],
      egress: [{ ports: [{ port: 8085 }], action: "deny" }],
    };
    const metadata = { name: "below", namespace: "x" };
    const below = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFNetworkPolicy", metadata, spec };
    const { trouble, objects } = await rig.change({ write: [below] });
    assert.equal(trouble, undefined);
    assert.deepEqual(
      objects.flatMap(({ ref, state }) => (ref.name === "below" ? [state] : [])),
      ["in-force"],
    );
    const outgoing = [ofNode(world.ipv4, "TCP", 8085), ofNode(world.ipv4, "TCP", 80)];
    const [ofX, ofY] = [pods[1], pods[3]];
    const incoming = [
      from(world, nodeIpv4, "TCP", 80),
      from(world, nodeIpv4, "TCP", 8085),
      from(world, nodeIpv6, "TCP", 8085),
      from(world, nodeIpv6, "TCP", 22),
      from(ofX, nodeIpv4, "TCP", 80),
      from(ofY, nodeIpv4, "TCP", 80),
    ];
    assert.deepEqual(await met(...outgoing), ["nothing", "answered"]);
    assert.deepEqual(await met(...incoming), ["answered", "answered", "nothing", "answered", "nothing", "answered"]);
    await enforce(hostPolicy({ ingress: [{ toPorts: ports(8085) }] }));
    assert.deepEqual(await met(...outgoing), ["nothing", "answered"]);
    assert.deepEqual(await met(...incoming), ["nothing", "answered", "answered", "answered", "nothing", "nothing"]);
    await lift();
    await rig.change({ remove: [refOfPolicy(below)] });
    assert.deepEqual(
      await met(...outgoing, ...incoming),
      [...outgoing, ...incoming].map(() => "answered"),
    );
  });

  it("are in force on interfaces that come later", async () => {
    await enforce(hostPolicy({ ingress: [{ toPorts: ports(80) }] }));
    const late = rigPod("x", "late", 9);
    rig.network.add(late);
    await rig.serve();
    const closed = from(late, nodeIpv4, "TCP", 8085);
    for (const end = performance.now() + 30_000; performance.now() < end;)
      if ((await met(closed))[0] === "nothing") break;
    assert.deepEqual(await met(from(late, nodeIpv4, "TCP", 80), closed), ["answered", "nothing"]);
    await lift();
  });
});
