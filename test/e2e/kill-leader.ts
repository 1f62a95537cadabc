import assert from "node:assert/strict";
import { join } from "node:path";
import { Running } from "../cluster/whole/processes.ts";
import type { WholeCluster } from "../cluster/whole/whole-cluster.ts";
import type { Fleet } from "./fleet.ts";

const inSystem = ["-n", "kube-system"];

export interface KilledLeader {
  readonly pod: string;
  /** From the end of its process until the kubelet has started another. */
  readonly startedSeconds: number;
  /** From then on until it had written its lease. */
  readonly heldSeconds: number;
}

/** Kills the process of the operator that leads, on its node, and waits until its pod holds the lease anew. */
export async function killLeader({ cluster, node }: Fleet): Promise<KilledLeader> {
  const before = await leaseOf(cluster);
  const pod = before.holder;
  const [pid = ""] = await pidsOf(node, pod);
  await node.run(["kill", "-9", pid]);
  const killedAt = Date.now();
  await cluster.until("the next container", async () => (await pidsOf(node, pod)).some((each) => each !== pid));
  const startedAt = Date.now();
  const after = await cluster.until("its lease", async () => {
    const lease = await leaseOf(cluster);
    return lease.renewedAt > killedAt && lease;
  });
  assert.deepEqual([after.holder, after.transitions], [pod, before.transitions], "nobody else has had it");
  const restarts = await cluster.until("its pod's count of restarts", async () => {
    const path = "jsonpath={.status.containerStatuses[0].restartCount}";
    const count = await cluster.kubectl([...inSystem, "get", "pod", pod, "-o", path]);
    return count !== "0" && count;
  });
  assert.equal(restarts, "1");
  return {
    pod,
    startedSeconds: (startedAt - killedAt) / 1000,
    heldSeconds: Math.max(0, (after.renewedAt - startedAt) / 1000),
  };
}

/**
 * Deletes the pod of the operator that leads: its kubelet ends it by SIGTERM. Resolves, with the seconds from the end of
 * its processes, when the other replica holds the lease, and there are two again.
 */
export async function endLeader({ cluster, node }: Fleet): Promise<{ readonly heldSeconds: number }> {
  const { holder: pod } = await leaseOf(cluster);
  const stands = await cluster.kubectl([...inSystem, "get", "pods", "-o", "name"]);
  await cluster.kubectl([...inSystem, "delete", "pod", pod, "--wait=false"]);
  const deletedAt = Date.now();
  const ended = cluster.until("its end", async () => (await pidsOf(node, pod)).length === 0 && Date.now());
  const after = await cluster.until("another leader", async () => {
    const lease = await leaseOf(cluster);
    return lease.holder !== "" && lease.holder !== pod && lease;
  });
  assert.ok(stands.includes(`pod/${after.holder}\n`), `${after.holder} was there before`);
  assert.ok(after.acquiredAt >= deletedAt - 1000, "it is a lease of its own");
  const endedAt = await ended;
  await cluster.kubectl([...inSystem, "rollout", "status", "deployment/podconfigmap-controller", "--timeout=120s"]);
  return { heldSeconds: Math.max(0, (after.acquiredAt - endedAt) / 1000) };
}

async function pidsOf(node: Fleet["node"], pod: string): Promise<readonly string[]> {
  const script = `for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ | grep -qx 'POD_NAME=${pod}' && echo \${p#/proc/}; done 2>/dev/null; true`;
  return (await node.run(["sh", "-c", script])).split("\n").filter((line) => line !== "");
}

interface Lease {
  readonly spec: {
    /** Nobody's, where it was given back. */
    readonly holderIdentity?: string;
    readonly acquireTime: string;
    readonly renewTime: string;
    readonly leaseTransitions?: number;
  };
}

async function leaseOf(cluster: WholeCluster) {
  const text = await cluster.kubectl([...inSystem, "get", "lease", "podconfigmap-controller-lock", "-o", "json"]);
  const { holderIdentity, acquireTime, renewTime, leaseTransitions } = (JSON.parse(text) as Lease).spec;
  const [acquiredAt, renewedAt] = [Date.parse(acquireTime), Date.parse(renewTime)];
  return { holder: holderIdentity ?? "", acquiredAt, renewedAt, transitions: leaseTransitions };
}

let series = 0;

/** Pings from an address of the switch, twenty in a second, until it is told to end. */
export class Pings implements AsyncDisposable {
  readonly #running: Running;

  constructor({ folder, network }: WholeCluster, from: string, to: string) {
    const command = ["ping", "-q", "-i", "0.05", "-I", from, to];
    this.#running = new Running(`ping-${++series}-${from}`, join(folder, "logs"), network.inside(command));
  }

  async stop(): Promise<{ readonly sent: number; readonly answered: number }> {
    process.kill(this.#running.pid, "SIGINT");
    await this.#running.ended;
    const [, sent, answered] = /(\d+) packets transmitted, (\d+) received/.exec(this.#running.tail()) ?? [];
    return { sent: Number(sent), answered: Number(answered) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.kill();
  }
}
