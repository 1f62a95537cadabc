import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { AnyObject } from "@bpfleet/kube";
import { Netns, queryHook } from "@bpfleet/native";
import { timeBpftoolAttach } from "../bpftool.ts";
import { BareWatch } from "../cluster/bare-watch.ts";
import { BenchCluster, ebpfPrograms, packetFilter } from "../cluster/bench-cluster.ts";
import { compilePeer } from "../programs.ts";
import { answer, median, quantile, type BenchContext, type BenchQuestion } from "../result.ts";

const patienceMs = 30_000;
const editingMs = 75_000;

export const question: BenchQuestion = {
  name: "cluster.in-force",
  asks: "how long from an object's change through a real API server until the kernel names another program on the interface, by agent and daemon as processes",
  async ask(context) {
    compilePeer(context, "verdict");
    await using cluster = await BenchCluster.start(context);
    const { far } = cluster.node.processes.sandbox.pair();
    const attach = (): readonly number[] =>
      timeBpftoolAttach(far.name, "v0", join(context.scratchDir, "verdict.bpf.o"), context.isQuick ? 3 : 20);
    const attaches = [...attach()];
    const { ours, watched } = await timeEdits(cluster, context);
    attaches.push(...attach());
    const theirs = watched.map((ms, index) => ms + (attaches[index % attaches.length] ?? Number.NaN));
    context.progress(
      `${ours.length} edits; a bare watch alone: p50 ${median(watched).toFixed(1)} ms, p99 ${quantile(watched, 0.99).toFixed(1)} ms`,
    );
    const peer = "a bare watch, then bpftool load, attach";
    return [
      answer("cluster.in-force.p50-ms", "ms", median(ours), peer, median(theirs)),
      answer("cluster.in-force.p99-ms", "ms", quantile(ours, 0.99), peer, quantile(theirs, 0.99), "< 250 ms"),
      answer("cluster.in-force.p50-over-watch-ms", "ms", median(over(ours, watched)), "the watch", median(watched)),
    ];
  },
};

/** Edits one object again and again; a watch without anything behind it looks on. */
async function timeEdits(
  { node, admin }: BenchCluster,
  { isQuick, progress }: BenchContext,
): Promise<{ readonly ours: readonly number[]; readonly watched: readonly number[] }> {
  const { far, sandbox } = node.processes;
  using netns = Netns.open(`/run/netns/${far}`);
  const ifindex = sandbox.ifindex(far, "eth0");
  const attached = async (): Promise<number> =>
    (await queryHook({ xdp: ifindex }, { inNetns: netns })).programs[0] ?? 0;
  await using watch = new BareWatch(admin, ebpfPrograms);
  const [ours, watched]: [number[], number[]] = [[], []];
  const end = performance.now() + editingMs;
  for (let edit = 0; edit <= (isQuick ? 10 : 200) && (edit < 10 || performance.now() < end); edit++) {
    const before = await attached();
    const started = performance.now();
    const writing = admin.apply<AnyObject>(ebpfPrograms, packetFilter(edit), { fieldManager: "bench", isForced: true });
    while ((await attached()) === before) {
      // A look costs a thread in the namespace: without a pause the looking slows what is looked at.
      await sleep(1);
      if (performance.now() - started > patienceMs) throw new Error("benchmark: a change is not in force after 30 s");
    }
    const tookMs = performance.now() - started;
    const { metadata } = await writing;
    const seen = await watch.when(metadata.resourceVersion ?? "");
    // The first one attaches; an edit replaces.
    if (edit > 0) {
      ours.push(tookMs);
      watched.push(seen - started);
    }
    if (edit % 50 === 0) progress(`edit ${edit}: ${tookMs.toFixed(0)} ms, the watch ${(seen - started).toFixed(0)} ms`);
    // Another moment of everybody's timers each time.
    await sleep(100 + ((edit * 37) % 100));
  }
  return { ours, watched };
}

function over(ours: readonly number[], theirs: readonly number[]): readonly number[] {
  return ours.map((ms, index) => ms - (theirs[index] ?? Number.NaN));
}
