import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createPods, findCgroupMount, PodCgroups } from "../../test/cluster/pods.ts";
import type { Memory } from "../../tools/memory-of.ts";
import { bareNodeMemory } from "../bare-node.ts";
import { BenchCluster, ebpfPrograms } from "../cluster/bench-cluster.ts";
import { answer, median, Unanswerable, type BenchContext, type BenchQuestion, type BenchResult } from "../result.ts";

const patienceMs = 60_000;
const namespace = "crowd";

export const question: BenchQuestion = {
  name: "node",
  asks: "what memory agent and daemon hold with 250 and 1,000 pods on their node, each filtered by a program on its cgroup, settled for 60 s",
  async ask(context) {
    if (findCgroupMount() === undefined) throw new Unanswerable("cgroup v2 is not mounted");
    await using cluster = await BenchCluster.start(context);
    const { server, admin } = cluster;
    using cgroups = new PodCgroups();
    const bare = await bareNodeMemory(cluster.programs.node, 2);
    server.kubectl(["create", "namespace", namespace]);
    await admin.apply({ ...ebpfPrograms, namespace }, egress, { fieldManager: "bench", isForced: true });
    const results: BenchResult[] = [];
    let there = 0;
    for (const pods of context.isQuick ? [50] : [250, 1000]) {
      const uids = await createPods(server, namespace, "n1", [there, pods]);
      for (const uid of uids) cgroups.add(uid);
      there = pods;
      await allInForce(cluster, pods);
      const { pssMib, rssMib } = await settled(cluster, context);
      results.push(
        answer(`node.pss-mib.${pods}-pods`, "MiB PSS", pssMib, "two idle node", bare.pssMib, "< 128 MiB"),
        answer(`node.rss-mib.${pods}-pods`, "MiB RSS", rssMib, "two idle node", bare.rssMib),
      );
    }
    return results;
  },
};

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

/** Each pod has a link that is pinned. */
async function allInForce({ node }: BenchCluster, pods: number): Promise<void> {
  const folder = join(node.processes.env["BPFLEET_BPFFS"] ?? "", "bpfleet/links");
  const started = performance.now();
  let links = 0;
  while (links < pods) {
    await sleep(100);
    links = existsSync(folder) ? readdirSync(folder).length : 0;
    if (performance.now() - started > patienceMs)
      throw new Error(`benchmark: ${links} of ${pods} pods are filtered after ${patienceMs / 1000} s`);
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
