import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { packAddresses } from "@bpfleet/kinds";
import { createPods, findCgroupMount, PodCgroups } from "../../test/cluster/pods.ts";
import type { Memory } from "../../tools/memory-of.ts";
import { bareNodeMemory } from "../bare-node.ts";
import { BenchCluster, ebpfPrograms } from "../cluster/bench-cluster.ts";
import { WiredPods } from "../cluster/wired-pods.ts";
import { answer, median, Unanswerable, type BenchContext, type BenchQuestion, type BenchResult } from "../result.ts";

const patienceMs = 60_000;
const namespace = "crowd";
const knownAddresses = 10_000;
const policies = 20;
const asBench = { fieldManager: "bench", isForced: true };

export const question: BenchQuestion = {
  name: "node",
  asks: "what memory agent and daemon hold with 250 and 1,000 pods on their node, each filtered by a program on its cgroup, or all selected by 20 policies, settled for 60 s",
  async ask(context) {
    if (findCgroupMount() === undefined) throw new Unanswerable("cgroup v2 is not mounted");
    return [...(await withFilter(context)), ...(await withPolicies(context))];
  },
};

async function withFilter(context: BenchContext): Promise<readonly BenchResult[]> {
  await using cluster = await BenchCluster.start(context);
  const { server, admin } = cluster;
  using cgroups = new PodCgroups();
  const bare = await bareNodeMemory(cluster.programs.node, 2);
  server.kubectl(["create", "namespace", namespace]);
  await admin.apply({ ...ebpfPrograms, namespace }, egress, asBench);
  const results: BenchResult[] = [];
  let there = 0;
  for (const pods of context.isQuick ? [50] : [250, 1000]) {
    const uids = await createPods(server, namespace, "n1", [there, pods]);
    for (const uid of uids) cgroups.add(uid);
    there = pods;
    await hooked(cluster, pods);
    const { pssMib, rssMib } = await settled(cluster, context);
    results.push(
      answer(`node.pss-mib.${pods}-pods`, "MiB PSS", pssMib, "two idle node", bare.pssMib, "< 128 MiB"),
      answer(`node.rss-mib.${pods}-pods`, "MiB RSS", rssMib, "two idle node", bare.rssMib),
    );
  }
  return results;
}

/** Of a node that has heard of ten times as many pods elsewhere. */
async function withPolicies(context: BenchContext): Promise<readonly BenchResult[]> {
  const pods = context.isQuick ? 50 : 1000;
  await using cluster = await BenchCluster.start(context);
  const { server, admin, node } = cluster;
  using cgroups = new PodCgroups();
  // Their processes end before their cgroups go.
  await using wired = new WiredPods();
  const bare = await bareNodeMemory(cluster.programs.node, 2);
  for (const each of [namespace, "elsewhere"]) server.kubectl(["create", "namespace", each]);
  const uids = await createPods(server, namespace, "n1", [0, pods]);
  await wired.add(node.processes.far, uids, cgroups);
  for (let at = 0; at < pods; at++)
    await server.call(
      "PATCH",
      `/api/v1/namespaces/${namespace}/pods/web-n1-${at}/status`,
      { status: { phase: "Running", podIP: addressOf(at), podIPs: [{ ip: addressOf(at) }] } },
      { "content-type": "application/merge-patch+json" },
    );
  for (const slice of packAddresses([], Array.from({ length: knownAddresses }, knownPod)).write)
    await admin.apply({ group: "bpfleet.io", version: "v1alpha1", plural: "addressslices" }, slice, asBench);
  for (let at = 0; at < policies; at++)
    await admin.apply(
      { group: "networking.k8s.io", version: "v1", plural: "networkpolicies", namespace },
      networkPolicy(at),
      asBench,
    );
  const links = await hooked(cluster, 2 * pods);
  context.progress(`${links} hooks of ${pods} pods are judged by ${policies} policies`);
  const { pssMib, rssMib } = await settled(cluster, context);
  return [
    answer(`node.pss-mib.${pods}-pods-policies`, "MiB PSS", pssMib, "two idle node", bare.pssMib, "< 128 MiB"),
    answer(`node.rss-mib.${pods}-pods-policies`, "MiB RSS", rssMib, "two idle node", bare.rssMib),
  ];
}

/** Of the node's own pods, then of those elsewhere. */
function addressOf(at: number): string {
  return `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`;
}

function knownPod(_: unknown, at: number): Parameters<typeof packAddresses>[1][number] {
  const app = `app-${Math.floor(at / 20)}`;
  const set = { labels: { app, tier: `tier-${at % 5}`, "pod-template-hash": "5d8f7b9c6d" } };
  return {
    of: "Pod",
    namespace: "elsewhere",
    ip: addressOf(65_536 + at),
    name: `${app}-${at}`,
    node: `n${at % 50}`,
    set,
  };
}

/** Selects every pod; whom it lets in are others with each. */
function networkPolicy(at: number) {
  const from = [
    { namespaceSelector: {}, podSelector: { matchLabels: { tier: `tier-${at % 5}` } } },
    { ipBlock: { cidr: `192.0.${at}.0/24` } },
  ];
  const ports = [{ protocol: "TCP", port: 8000 + at }];
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: `policy-${at}`, namespace },
    spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"], ingress: [{ from, ports }], egress: [{ to: from }] },
  };
}

const egress = {
  apiVersion: "networking.fos1.io/v1alpha1",
  kind: "EBPFProgram",
  metadata: { name: "egress", namespace },
  spec: {
    type: "cgroup",
    settings: {
      containerPolicy: { enableEgressControl: true },
      blacklist: { enabled: true, ips: ["192.0.2.0/24"] },
    },
  },
};

/** Resolves when so many links, or filters where the kernel has no links for tc, are pinned. */
async function hooked({ node }: BenchCluster, wanted: number): Promise<number> {
  const root = join(node.processes.env["BPFLEET_BPFFS"] ?? "", "bpfleet");
  const folders = ["links", "filters"].map((name) => join(root, name));
  for (const end = performance.now() + patienceMs + 100 * wanted; ;) {
    const there = folders.reduce((sum, each) => sum + (existsSync(each) ? readdirSync(each).length : 0), 0);
    if (there >= wanted) return there;
    if (performance.now() > end) throw new Error(`benchmark: ${there} of ${wanted} hooks are there`);
    await sleep(100);
  }
}

/** Of agent and daemon together: the median of the last seconds of a time in which nothing is declared. */
async function settled({ node: { processes } }: BenchCluster, { isQuick, progress }: BenchContext): Promise<Memory> {
  const samples: Memory[] = [];
  for (let second = 0; second <= (isQuick ? 10 : 60); second++) {
    if (second > 0) await sleep(1000);
    const [daemon, agent] = [processes.memory("daemon"), processes.memory("agent")];
    samples.push({ pssMib: daemon.pssMib + agent.pssMib, rssMib: daemon.rssMib + agent.rssMib });
    if (second % 20 === 0)
      progress(`after ${second} s: daemon ${daemon.pssMib.toFixed(1)}, agent ${agent.pssMib.toFixed(1)} MiB PSS`);
  }
  const last = samples.slice(-5);
  return { pssMib: median(last.map(({ pssMib }) => pssMib)), rssMib: median(last.map(({ rssMib }) => rssMib)) };
}
