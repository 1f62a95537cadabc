import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import type { KubeObject } from "@bpfleet/kinds";
import { nodeIpv4, nodeIpv6, podKey, rigPod, type RigPod } from "./policy-rig/pod-network.ts";
import { families, namespaceObject, podObject, PolicyRig, refOfPolicy } from "./policy-rig/policy-rig.ts";

const [a, b] = [rigPod("x", "a", 1), rigPod("x", "b", 2)];
const patientMs = 1000;

/** What of TCP and UDP comes in, by its DSCP and family. */
const counting = ["ip", "ip6"]
  .flatMap((family) => [
    `add counter inet seen ${family}-ef`,
    `add counter inet seen ${family}-other`,
    `add rule inet seen input meta l4proto { tcp, udp } ${family} dscp ef counter name ${family}-ef`,
    `add rule inet seen input meta l4proto { tcp, udp } ${family} dscp != ef counter name ${family}-other`,
  ])
  .join("\n");

function policy(app: string, direction: "ingress" | "egress", annotations = {}): KubeObject {
  const ports = ["TCP", "UDP"].map((protocol) => ({ protocol, port: 80 }));
  const spec = {
    policyType: "filtering",
    selector: { podSelector: { matchLabels: { app } } },
    [direction]: [{ ports, action: "mark", mark: 46 }, { ports: [{ port: 81 }, { protocol: "UDP", port: 81 }] }],
  };
  const metadata = { name: "voice", namespace: "x", annotations };
  return { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFNetworkPolicy", metadata, spec };
}

describe("action mark of EBPFNetworkPolicy, with real packets", () => {
  let rig: PolicyRig;
  before(async () => {
    rig = await PolicyRig.make("routed", [a, b]);
    const pods = [a, b].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name }));
    await rig.change({ write: [namespaceObject("x", {}), ...pods] });
    for (const pod of [a, b]) {
      const chain = "add chain inet seen input { type filter hook input priority 0; }";
      nft(rig.network.netnsOf(pod), `add table inet seen\n${chain}\n${counting}\n`);
    }
  });
  after(() => rig?.[Symbol.asyncDispose]());

  function nft(netns: string, commands: string): string {
    return execFileSync("ip", ["netns", "exec", netns, "nft", "-j", commands], { encoding: "utf8" });
  }

  /** What came to the pod since it was asked last: `ip-ef ip6-other`. */
  function seenBy(pod: RigPod): string {
    const { nftables } = JSON.parse(nft(rig.network.netnsOf(pod), "reset counters table inet seen\n")) as {
      readonly nftables: readonly { readonly counter?: { readonly name: string; readonly packets: number } }[];
    };
    const came = nftables.flatMap(({ counter }) =>
      counter !== undefined && counter.packets > 0 ? [counter.name] : [],
    );
    return came.toSorted().join(" ");
  }

  /** What either pod receives of connections and datagrams from `a` to `b`. */
  async function seen(port: number): Promise<readonly string[]> {
    for (const pod of [a, b]) seenBy(pod);
    const probes = families.flatMap((family) =>
      (["TCP", "UDP"] as const).map((protocol) => ({ from: podKey(a), to: b[family], protocol, port })),
    );
    // A wrong checksum would keep IPv4 from being answered.
    const met = await rig.prober.probe(probes, patientMs);
    assert.deepEqual(
      met,
      probes.map(() => "answered"),
    );
    return [seenBy(b), seenBy(a)];
  }

  async function within(object: KubeObject, check: () => Promise<void>): Promise<void> {
    const { trouble, objects } = await rig.change({ write: [object] });
    assert.equal(trouble, undefined, rig.log);
    assert.deepEqual(
      objects.filter(({ state }) => state !== "in-force").map(({ messages }) => messages),
      [],
    );
    await check();
    await rig.change({ remove: [refOfPolicy(object)] });
  }

  const all = (dscp: string): readonly string[] => [`ip-${dscp} ip6-${dscp}`, `ip-${dscp} ip6-${dscp}`];

  it("is the DSCP of what a pod sends by an egress rule and of what answers it, and of nothing else", async () => {
    await within(policy("a", "egress"), async () => {
      assert.deepEqual(await seen(80), all("ef"));
      assert.deepEqual(await seen(81), all("other"));
    });
    assert.deepEqual(await seen(80), all("other"));
  });

  it("is the DSCP of what a pod receives by an ingress rule and of its answers", async () => {
    await within(policy("b", "ingress"), async () => {
      assert.deepEqual(await seen(80), all("ef"));
      assert.deepEqual(await seen(81), all("other"));
    });
  });

  it("stays where the node masquerades", async () => {
    const { name } = rig.network.node;
    const rules = [
      `add rule inet nat post ip saddr ${a.ipv4} counter snat ip to ${nodeIpv4}`,
      `add rule inet nat post ip6 saddr ${a.ipv6} counter snat ip6 to ${nodeIpv6}`,
    ].join("\n");
    nft(name, `add table inet nat\nadd chain inet nat post { type nat hook postrouting priority 100; }\n${rules}\n`);
    await within(policy("a", "egress"), async () => assert.deepEqual(await seen(80), all("ef")));
    const counted = execFileSync("ip", ["netns", "exec", name, "nft", "list", "table", "inet", "nat"], {
      encoding: "utf8",
    });
    assert.equal(counted.match(/packets [1-9]\d* bytes \d+ snat/g)?.length, 2, counted);
    nft(name, "delete table inet nat\n");
  });

  it("is the DSCP of what the node itself sends", async () => {
    const marking = policy("a", "egress");
    const spec = { ...(marking as unknown as { readonly spec: object }).spec, selector: { nodeSelector: {} } };
    await within({ ...marking, spec }, async () => {
      for (const [port, dscp] of [
        [80, "ef"],
        [81, "other"],
      ] as const) {
        seenBy(b);
        const probes = families.map((family) => ({ from: "node", to: b[family], protocol: "TCP", port }) as const);
        assert.deepEqual(await rig.prober.probe(probes, patientMs), ["answered", "answered"]);
        assert.equal(seenBy(b), `ip-${dscp} ip6-${dscp}`);
      }
    });
  });

  it("is not written by what is only tried out", async () => {
    await within(policy("a", "egress", { "bpfleet.io/mode": "shadow" }), async () =>
      assert.deepEqual(await seen(80), all("other")),
    );
  });
});
