import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { Traffic } from "@bpfleet/daemon/testing";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { target } from "../kernel/two-processes.ts";
import { AuditLog, type Write } from "./audit-log.ts";
import { busySeconds } from "./busy-seconds.ts";
import { ClusterNode, documented } from "./cluster-node.ts";
import {
  makeNodeProgram,
  nodeObject,
  nodePrograms,
  nodes,
  nodeStates,
  resultOf,
  startFleetCluster,
  tellNodeState,
  until,
  type FleetCluster,
} from "./fleet-cluster.ts";
import { ImagePrograms } from "./image-programs.ts";
import { Replicas } from "./replicas.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const [inList, inNetwork, elsewhere] = documented;
const account = "podconfigmap-controller";
const quietMs = 2000;

let programs: ImagePrograms;
let audit: AuditLog;
let cluster: FleetCluster;
let node: ClusterNode;
let replicas: Replicas;

const configs = { group: "bpfd.io", version: "v1alpha1", plural: "bpfprogramconfigs" } as const;
const filters = {
  group: "networking.fos1.io",
  version: "v1alpha1",
  plural: "ebpfprograms",
  namespace: "default",
} as const;

before(async () => {
  if (skip !== undefined) return;
  // As in the images: sources would be timed with their compiler.
  programs = await ImagePrograms.make();
  audit = new AuditLog();
  cluster = await startFleetCluster(audit.flags);
  node = await ClusterNode.make(cluster.server, { programs });
  writeFileSync(objectPath(), node.processes.sandbox.compile("contract"));
  replicas = new Replicas(cluster, programs.operator);
  replicas.start("a");
  await replicas.leads("a");
  await replicas.acted();
  replicas.start("b");
  await makeFilter("kept", inList);
  await node.until("the documented source is dropped", () => !node.processes.answers(inList));
  await replicas.stands("b");
});

after(async () => {
  replicas?.[Symbol.dispose]();
  await node?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
  audit?.[Symbol.dispose]();
  programs?.[Symbol.dispose]();
});

interface Reported extends AnyObject {
  readonly status?: {
    readonly state?: string;
    readonly nodes?: { readonly ready: number; readonly total: number };
    readonly conditions?: readonly { readonly type: string }[];
  };
}

const objectPath = (): string => join(node.processes.sandbox.dir, "pass.o");

function makeFilter(name: string, source: string): Promise<AnyObject> {
  return cluster.admin.create<AnyObject>(filters, {
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFProgram",
    metadata: { name, namespace: "default" },
    spec: { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips: [source] } } },
  });
}

function makeConfig(name: string): Promise<AnyObject> {
  const spec = {
    name: "count_xdp",
    type: "XDP",
    nodeselector: {},
    attachpoint: { networkmultiattach: { interface: "eth0", priority: 10 } },
    bytecode: `file://${objectPath()}`,
  };
  return cluster.admin.create<AnyObject>(configs, {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgramConfig",
    metadata: { name },
    spec,
  });
}

function statusThat(
  address: typeof filters | typeof configs,
  name: string,
  what: string,
  holds: (status: NonNullable<Reported["status"]>) => boolean,
): Promise<NonNullable<Reported["status"]>> {
  return until(what, async () => {
    const { status } = await cluster.admin.get<Reported>({ ...address, name });
    return status !== undefined && holds(status) ? status : undefined;
  });
}

function gone(address: Parameters<FleetCluster["admin"]["find"]>[0]): Promise<true> {
  return until(`${address.plural} ${address.name} is gone`, async () =>
    (await cluster.admin.find(address)) === undefined ? true : undefined,
  );
}

/** What the operator has written once it writes no more. */
async function settledWrites(): Promise<readonly Write[]> {
  let [last, sinceMs] = [-1, performance.now()];
  return until("the operator writes no more", () => {
    const now = audit.writes(account);
    if (now.length !== last) [last, sinceMs] = [now.length, performance.now()];
    return performance.now() - sinceMs > quietMs ? now : undefined;
  });
}

/** Of every object that was written; of one that is gone, none. */
async function versionsOf(writes: readonly Write[]): Promise<ReadonlyMap<string, string | undefined>> {
  const paths = [...new Set(writes.map(({ path }) => path))];
  const versions = paths.map(async (path) => {
    const { body } = await cluster.server.call("GET", path);
    return [path, (body["metadata"] as { readonly resourceVersion?: string } | undefined)?.resourceVersion] as const;
  });
  return new Map(await Promise.all(versions));
}

async function managersOfStatus(name: string): Promise<readonly string[]> {
  const { metadata } = await cluster.admin.get<AnyObject>({ ...filters, name });
  const managers = (metadata.managedFields ?? []) as readonly {
    readonly manager: string;
    readonly subresource?: string;
  }[];
  return managers.filter(({ subresource }) => subresource === "status").map(({ manager }) => manager);
}

interface HandOver {
  readonly way: string;
  readonly limitSeconds: number;
  /** What happens to the leader, from that moment on. */
  readonly end: () => void;
  readonly next: string;
  /** What the next one says of the one before. */
  readonly says: RegExp;
}

/**
 * While nobody leads, a node goes, and a filter and a config with it that were in force on both nodes. Whoever leads next
 * removes what is left of them, each thing once, and no packet has another verdict meanwhile.
 */
async function handOver(t: TestContext, { way, limitSeconds, end, next, says }: HandOver): Promise<void> {
  const [filter, config, other] = [`filter-${way}`, `config-${way}`, `node-${way}`];
  await cluster.admin.create(nodes, nodeObject(other));
  await makeFilter(filter, inNetwork);
  const held = await makeConfig(config);
  await tellNodeState(cluster.admin, other, [
    resultOf(await cluster.admin.get<AnyObject>({ ...filters, name: "kept" }), "Failed"),
    resultOf(held, "InForce"),
  ]);
  await makeNodeProgram(cluster.admin, held, other);
  await node.until("the filter is in force", () => !node.processes.answers(inNetwork));
  await statusThat(
    configs,
    config,
    "both nodes have its program",
    ({ conditions }) => conditions?.at(-1)?.type === "ReconcileSuccess",
  );
  await statusThat(filters, "kept", "one of two nodes fails", ({ state }) => state === "Failed");
  await statusThat(filters, filter, "the node tells of it", (status) => status.nodes?.ready === 1);
  const written = await settledWrites();
  const versions = await versionsOf(written);

  const { near, far } = node.processes;
  await using traffic = await Traffic.start(near, [inList, elsewhere], far, target);
  end();
  const begin = performance.now();
  const acting = replicas.secondsToAct(begin);
  await cluster.admin.delete({ ...nodes, name: other });
  await cluster.admin.delete({ ...filters, name: filter });
  await cluster.admin.delete({ ...configs, name: config });
  const seconds = await acting;
  assert.equal(await replicas.holder(), next);
  assert.match(await replicas.saysOfTheOneBefore(next), says);
  await until(`an event of the Lease says the same`, async () =>
    says.test(await replicas.eventBy(next)) ? true : undefined,
  );
  await node.until("the filter is out of force", () => node.processes.answers(inNetwork));
  await gone({ ...nodeStates, name: other });
  for (const each of [other, "n1"]) await gone({ ...nodePrograms, name: `${config}-${each}` });
  await gone({ ...configs, name: config });
  const { nodes: counted } = await statusThat(filters, "kept", "it is active", ({ state }) => state === "Active");
  assert.deepEqual(counted, { ready: 1, total: 1 });
  const writes = (await settledWrites()).slice(written.length);
  const versionsNow = await versionsOf(writes);
  const { sent, received } = await traffic.stop();

  t.diagnostic(`${way}: ${seconds.toFixed(2)} s, ${sent[elsewhere]?.length} packets of each source`);
  assert.deepEqual(
    writes.filter(({ status }) => status >= 300),
    [],
    "nobody tries what is done",
  );
  // What a new leader puts as it is already is no change.
  const isChange = ({ path }: Write): boolean =>
    versions.get(path) === undefined || versions.get(path) !== versionsNow.get(path);
  const changes = writes.filter(isChange).map(({ what }) => what);
  const told = changes.filter((what) => what.endsWith("/status") || what === "patch configmaps/bpfleet-index");
  // Numbers grow all the time; what is told of them is told when something else is.
  assert.ok(told.length <= (performance.now() - begin) / 1000, told.join("\n"));
  assert.deepEqual(changes.filter((what) => !told.includes(what)).toSorted(), [
    `delete bpfprograms/${config}-${other}`,
    `delete nodestates/${other}`,
    `patch bpfprogramconfigs/${config}`,
    `patch bpfprograms/${config}-${other}`,
    "patch daemonsets/bpfd-daemon",
  ]);
  assert.deepEqual(await managersOfStatus("kept"), ["bpfleet-operator"]);
  assert.ok((sent[inList]?.length ?? 0) > 1000);
  assert.deepEqual(received[inList] ?? [], [], "blocked before and after: none may pass");
  assert.deepEqual(received[elsewhere], sent[elsewhere], "permitted before and after: none may be lost");
  assert.ok(seconds < limitSeconds + busySeconds(), `it took ${seconds} s at a load of ${loadavg().join(", ")}`);
}

test("a leader that ends by SIGTERM gives its lease back: the next acts in under 3 s", { skip }, async (t) => {
  await handOver(t, {
    way: "released",
    limitSeconds: 3,
    end: () => replicas.kill("a", "SIGTERM"),
    next: "b",
    says: /b leads: it follows a, which released the lease at 2/,
  });
  await replicas.ended("a");
  replicas.start("a");
  await replicas.stands("a");
});

test(
  "a leader that is killed and comes back under its own name has its lease at once: under 10 s",
  { skip },
  async (t) => {
    // As the kubelet does it: the same pod, a new container.
    const end = (): void => {
      replicas.kill("b", "SIGKILL");
      replicas.start("b");
    };
    await handOver(t, {
      way: "killed",
      limitSeconds: 10,
      end,
      next: "b",
      says: /b leads: it follows itself: its own lease was last renewed at 2/,
    });
  },
);

test(
  "a leader that is lost with its node is followed when its lease has ended, and a retry later: under 17 s",
  { skip },
  async (t) => {
    await handOver(t, {
      way: "lost",
      limitSeconds: 17,
      end: () => replicas.kill("b", "SIGKILL"),
      next: "a",
      says: /a leads: it follows b, which is lost: its lease ran out, last renewed at 2/,
    });
    await replicas.ended("b");
  },
);

test("shorter leases make the loss of a node shorter", { skip }, async (t) => {
  replicas.kill("a", "SIGTERM");
  await replicas.ended("a");
  const quick = {
    LEADER_ELECTION_LEASE_DURATION: "4s",
    LEADER_ELECTION_RENEW_DEADLINE: "3s",
    LEADER_ELECTION_RETRY_PERIOD: "1s",
  };
  replicas.start("c", quick);
  await replicas.leads("c");
  replicas.start("d", quick);
  await replicas.stands("d");
  replicas.kill("c", "SIGKILL");
  const seconds = await replicas.secondsToAct(performance.now());
  t.diagnostic(`lost, with leases of 4 s: ${seconds.toFixed(2)} s`);
  assert.equal(await replicas.holder(), "d");
  assert.ok(seconds < 4 + 1 + 4 + busySeconds(), `it took ${seconds} s at a load of ${loadavg().join(", ")}`);
});
