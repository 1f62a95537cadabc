import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { connectKube, loadAccess, type KubeClient } from "@bpfleet/kube-client";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { AuditLog } from "./audit-log.ts";
import { ClusterNode, documented } from "./cluster-node.ts";
import { startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";
import { TcpProxy } from "./tcp-proxy.ts";
import { programs } from "./reported.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const operatorAccount = "podconfigmap-controller";
/** Of an answer. With the documented lease a renewal must be answered within ten seconds. */
const [slowMs, slowerMs] = [3000, 11_000];
const edits = 8;
const patienceMs = 120_000;
const asTest = { fieldManager: "test", isForced: true } as const;
const lease = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  namespace: "kube-system",
  name: "podconfigmap-controller-lock",
} as const;

let audit: AuditLog;
let cluster: FleetCluster;
let proxy: TcpProxy;
let client: KubeClient;
let node: ClusterNode;
let running: RunningOperator;

before(async () => {
  if (skip !== undefined) return;
  audit = new AuditLog();
  cluster = await startFleetCluster(audit.flags);
  proxy = await TcpProxy.start(cluster.server.url);
  const access = loadAccess({ env: {}, kubeconfig: cluster.kubeconfigOf(operatorAccount) });
  client = connectKube({ ...access, server: proxy.url });
  running = await cluster.startOperator({ client });
  node = await ClusterNode.make(cluster.server, { apiServer: proxy.url });
});

after(async () => {
  proxy?.delay(0);
  await node?.[Symbol.asyncDispose]();
  await running?.[Symbol.asyncDispose]();
  await client?.[Symbol.asyncDispose]();
  await proxy?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
  audit?.[Symbol.dispose]();
});

interface Told extends AnyObject {
  readonly status?: {
    readonly observedGeneration?: number;
    readonly nodes?: { readonly ready?: number };
  };
}

/** Past the proxy. */
async function declare(ips: readonly string[]): Promise<number> {
  const spec = { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips } } };
  const metadata = { name: "slow", namespace: "default" };
  const object = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", metadata, spec };
  const made = await cluster.admin.apply<AnyObject>(programs, object, asTest);
  return made.metadata.generation ?? 0;
}

async function told(generation: number): Promise<void> {
  const isTold = async (): Promise<true | undefined> => {
    const { status } = await cluster.admin.get<Told>({ ...programs, name: "slow" });
    return (status?.observedGeneration === generation && status.nodes?.ready === 1) || undefined;
  };
  await until(`the status speaks of generation ${generation}`, isTold, patienceMs);
}

async function leaseSpec(): Promise<{
  readonly holderIdentity?: string;
  readonly leaseTransitions?: number;
  readonly renewTime?: string;
}> {
  return (await cluster.admin.get<AnyObject & { readonly spec?: object }>(lease)).spec ?? {};
}

const writes = (account: string, what: RegExp): number =>
  audit.writes(account).filter((write) => what.test(write.what)).length;

test(
  "every answer comes three seconds late: the leader leads on, edits go into force, each status is told, and writes stay few",
  { skip },
  async (t) => {
    await told(await declare([documented[0]]));
    const object = join(node.processes.sandbox.dir, "pass.o");
    writeFileSync(object, node.processes.sandbox.compile("contract"));
    const before = await leaseSpec();
    const own = (): readonly number[] => [
      writes("bpfd-daemon", /nodestates/),
      writes(operatorAccount, /ebpfprograms\/slow\/status/),
    ];
    const [nodeBefore = 0, statusBefore = 0] = own();
    const connectionsBefore = proxy.accepted;
    const begin = performance.now();
    proxy.delay(slowMs);
    let generation = 0;
    for (let edit = 1; edit <= edits; edit++) {
      generation = await declare([documented[edit % 2 === 1 ? 1 : 0]]);
    }
    await node.until(
      "the last edit is in force",
      () => node.processes.answers(documented[1]) && !node.processes.answers(documented[0]),
    );
    await told(generation);
    const config = {
      apiVersion: "bpfd.io/v1alpha1",
      kind: "BpfProgramConfig",
      metadata: { name: "pass" },
      spec: {
        name: "count_xdp",
        type: "XDP",
        nodeselector: {},
        attachpoint: { networkmultiattach: { interface: "eth0", priority: 10 } },
        bytecode: `file://${object}`,
      },
    };
    // Not by kubectl, for which the operator in this process would have to wait.
    await cluster.admin.apply<AnyObject>(
      { group: "bpfd.io", version: "v1alpha1", plural: "bpfprogramconfigs" },
      config,
      asTest,
    );
    const loaded = async (): Promise<boolean> => {
      const { body } = await cluster.server.call("GET", "/apis/bpfd.io/v1alpha1/bpfprograms/pass-n1");
      const status = body["status"] as { conditions?: readonly { type: string }[] } | undefined;
      return status?.conditions?.at(-1)?.type === "Loaded";
    };
    await node.until("the config is loaded", loaded);
    // Renewals of more than one lease.
    await until("leases would have run out", () => performance.now() - begin > 16_000 || undefined);
    const seconds = (performance.now() - begin) / 1000;
    proxy.delay(0);
    const [nodeAfter = 0, statusAfter = 0] = own();
    t.diagnostic(
      `${seconds.toFixed(0)} s: ${edits} edits, ${nodeAfter - nodeBefore} writes of the node, ${statusAfter - statusBefore} of the status, ${proxy.accepted - connectionsBefore} connections`,
    );
    assert.deepEqual(
      await leaseSpec().then(({ holderIdentity, leaseTransitions }) => [holderIdentity, leaseTransitions]),
      [before.holderIdentity, before.leaseTransitions],
    );
    assert.equal(running.operator.isLeader, true);
    // One at a time, each of which takes as long.
    const most = seconds / (slowMs / 1000) + 2;
    assert.ok(nodeAfter - nodeBefore <= most, `${nodeAfter - nodeBefore} writes of the node`);
    assert.ok(statusAfter - statusBefore <= most, `${statusAfter - statusBefore} writes of the status`);
    const made = audit.writes("bpfd-daemon").filter(({ what }) => /^\w+ bpfprograms\/pass-n1$/.test(what));
    const answers = made.map(({ status }) => status);
    // Made, and filled when it was loaded.
    assert.equal(answers.filter((status) => status === 201).length, 1, answers.join());
    assert.ok(answers.length <= 3 && answers.every((status) => status < 300), answers.join());
  },
);

test(
  "answers come later than a lease bears: nobody leads, one does when they are in time again, and nothing is lost",
  { skip },
  async () => {
    const { leaseTransitions = 0, holderIdentity } = await leaseSpec();
    await until("it leads", () => running.operator.isLeader || undefined);
    proxy.delay(slowerMs);
    await until("it leads no more", () => !running.operator.isLeader || undefined, patienceMs);
    const generation = await declare([documented[1]]);
    await node.until("the edit is in force all the same", () => !node.processes.answers(documented[1]));
    proxy.delay(0);
    await until("it leads again", () => running.operator.isLeader || undefined, patienceMs);
    await told(generation);
    const after = await leaseSpec();
    assert.equal(after.holderIdentity, holderIdentity);
    assert.ok((after.leaseTransitions ?? 0) <= leaseTransitions + 1, "the lease went to nobody else");
  },
);

test(
  "connections stand still: the leader renews over others, and what was declared meanwhile is told",
  { skip },
  async () => {
    const { holderIdentity } = await leaseSpec();
    await until("it leads", () => running.operator.isLeader || undefined);
    proxy.hold();
    const heldAt = Date.now();
    const generation = await declare([documented[0]]);
    await until(
      "the lease is renewed",
      async () => Date.parse((await leaseSpec()).renewTime ?? "") > heldAt + 1000 || undefined,
      patienceMs,
    );
    await until("it leads", () => running.operator.isLeader || undefined, patienceMs);
    assert.equal((await leaseSpec()).holderIdentity, holderIdentity);
    // Watches that stand still are left after 90 s of silence; kube-watch.cluster.test.ts waits for less.
    proxy.cut();
    await told(generation);
  },
);
