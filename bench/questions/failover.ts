import { startFleetCluster } from "../../test/cluster/fleet-cluster.ts";
import { Replicas } from "../../test/cluster/replicas.ts";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { answer, median, Unanswerable, type BenchQuestion } from "../result.ts";

export const question: BenchQuestion = {
  name: "failover",
  asks: "how long nobody acts when the leading operator ends, is killed and comes back, or is lost: until a deleted DaemonSet is back",
  async ask(context) {
    const absence = whyNoBuild();
    if (absence !== undefined) throw new Unanswerable(absence);
    await using cluster = await startFleetCluster();
    using replicas = new Replicas(cluster);
    const found = { released: [] as number[], killed: [] as number[], lost: [] as number[] };
    let [leader, other] = ["a", "b"] as [string, string];
    replicas.start(leader);
    await replicas.leads(leader);
    await replicas.acted();
    for (let round = 0; round < (context.isQuick ? 1 : 3); round++) {
      replicas.start(other);
      await replicas.stands(other);
      replicas.kill(leader, "SIGTERM");
      found.released.push(await replicas.secondsToAct(performance.now()));
      await replicas.ended(leader);
      [leader, other] = [other, leader];

      replicas.start(other);
      await replicas.stands(other);
      replicas.kill(leader, "SIGKILL");
      const killed = performance.now();
      await replicas.ended(leader);
      replicas.start(leader);
      found.killed.push(await replicas.secondsToAct(killed));

      await replicas.leads(leader);
      replicas.kill(leader, "SIGKILL");
      found.lost.push(await replicas.secondsToAct(performance.now()));
      await replicas.ended(leader);
      [leader, other] = [other, leader];
      context.progress(
        `round ${round + 1}: ${Object.values(found)
          .map((list) => list.at(-1)?.toFixed(2))
          .join(" s, ")} s`,
      );
    }
    const retry = "a retry of the lease";
    const lease = "a lease and a retry";
    return [
      answer("failover.released-s", "s", median(found.released), retry, 2, "< 3 s"),
      answer("failover.killed-s", "s", median(found.killed), retry, 2, "< 10 s"),
      answer("failover.lost-s", "s", median(found.lost), lease, 17, "a lease and a retry: 17 s"),
    ];
  },
};
