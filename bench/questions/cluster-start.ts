import { answerOf } from "../../test/kernel/two-processes.ts";
import { freePort } from "../../test/cluster/api-server.ts";
import { startBareNode } from "../bare-node.ts";
import { BenchCluster, ebpfPrograms, packetFilter } from "../cluster/bench-cluster.ts";
import { answer, median, type BenchQuestion } from "../result.ts";

export const question: BenchQuestion = {
  name: "cluster.start-to-ready",
  asks: "how long agent and daemon, started at once over what is in force, take until both are ready and everything declared is read",
  async ask(context) {
    await using cluster = await BenchCluster.start(context);
    const { node, admin, programs } = cluster;
    await admin.apply(ebpfPrograms, packetFilter(0), { fieldManager: "bench", isForced: true });
    await node.until("it is in force", async () => (await node.result("EBPFProgram", "bench"))?.state === "InForce");
    const seconds: number[] = [];
    const bare: number[] = [];
    for (let round = 0; round < (context.isQuick ? 2 : 10); round++) {
      for (const name of ["agent", "daemon"] as const) await node.processes.stop(name);
      seconds.push(await startBoth(cluster));
      bare.push((await startBareNode(programs.node)) / 1000);
      context.progress(`start ${round + 1}: ready after ${seconds.at(-1)?.toFixed(2)} s`);
    }
    return [
      answer("cluster.start-to-ready-s", "s", median(seconds), "node -e 0", median(bare), "< 2 s"),
      answer("cluster.start-to-ready-slowest-s", "s", Math.max(...seconds), "node -e 0", Math.max(...bare)),
    ];
  },
};

/** As a kubelet starts the containers of a pod; the agent says by itself when it is ready. */
async function startBoth({ node }: BenchCluster): Promise<number> {
  const port = await freePort();
  const started = performance.now();
  const serving = node.processes.startDaemon();
  node.startAgent({ BPFLEET_HEALTH_ADDR: `127.0.0.1:${port}` });
  await Promise.all([
    serving,
    node.until("the agent is ready", async () => (await answerOf({ port, path: "/readyz" })) === 200),
  ]);
  return (performance.now() - started) / 1000;
}
