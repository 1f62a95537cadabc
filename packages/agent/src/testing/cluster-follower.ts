import type { DaemonResults } from "@bpfleet/daemon";
import type { KubeObject, DefinedKind } from "@bpfleet/kinds";
import { emptyPlan } from "@bpfleet/kernel";
import type { KubeClient } from "@bpfleet/kube-client";
import { followedKinds } from "../cluster/cluster-kinds.ts";
import { ClusterStore } from "../cluster/cluster-store.ts";
import { NodeStateWriter } from "../cluster/node-state-writer.ts";
import type { ObjectReport } from "../report.ts";
import { busyInventory } from "./busy-inventory.ts";

export interface FollowerOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly kinds: readonly DefinedKind[];
  readonly onNotice: (notice: string) => void;
  /** Told of all objects when one is different. */
  readonly onObjects: (objects: readonly KubeObject[]) => void;
}

export interface ClusterFollower extends AsyncDisposable {
  /** From now on packets pass: the numbers of each object and of a whole inventory grow. */
  carry(isTraffic: boolean): void;
}

const version = "0.1.0";
/** No longer than the NodeState of a real one waits for more. */
const reportMs = 1000;
/** Agents count every few seconds; only what is there when they write goes to the server. */
const countMs = 30_000;
const packetsPerCount = 30_000;
/** Of a daemon that has carried out all of an empty plan. */
export const settledResults: DaemonResults = {
  revision: 1,
  isComplete: true,
  isPaused: false,
  isSettled: true,
  items: [],
  healed: [],
  applyMs: 1,
  trouble: undefined,
};

/**
 * All of the agent of a node that speaks with the API server at a change: it follows what the real one follows, by the
 * same code, and writes the NodeState when and as that does. What it is told of counts as in force; nothing is planned, and nothing
 * counted until it is told to carry traffic.
 */
export async function startClusterFollower(options: FollowerOptions): Promise<ClusterFollower> {
  const { client, nodeName, kinds, onNotice, onObjects } = options;
  await using closing = new AsyncDisposableStack();
  const follow = { cilium: false, calico: false };
  let packets = 0;
  const store = closing.use(new ClusterStore({ client, nodeName, kinds: followedKinds(kinds, follow), onNotice }));
  const nodeState = closing.use(
    new NodeStateWriter({
      client,
      nodeName,
      version,
      clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
      daemon: {
        version: () => ({ version, kernel: "6.18", node: process.version, libbpf: "1.7" }),
        inventory: async () => (packets > 0 ? busyInventory(packets) : { programs: [], maps: [], links: [] }),
      },
      plan: () => emptyPlan,
      node: () => store.find({ group: "", kind: "Node", namespace: "", name: nodeName }),
      whyNotSynced: () => store.fault()?.message,
      onNotice,
      nodes: () => store.nodes,
    }),
  );
  const report = (): void =>
    nodeState.reports(
      store.snapshot().objects.map((each) => inForce(each, packets)),
      settledResults,
    );
  let reporting: NodeJS.Timeout | undefined;
  closing.defer(() => clearTimeout(reporting));
  const tell = async (): Promise<void> => {
    if (!(await store.refresh())) return;
    onObjects(store.snapshot().objects.map(({ object }) => object));
    // Hundreds in one process: of many changes at once each makes one report.
    reporting ??= setTimeout(() => {
      reporting = undefined;
      report();
    }, reportMs);
  };
  let isFollowing = false;
  closing.use(await store.follow(() => (isFollowing ? void tell() : undefined)));
  isFollowing = true;
  // As the real one looks at what it said before.
  await nodeState.read();
  await tell();
  let counting: NodeJS.Timeout | undefined;
  const count = (inMs: number): void => {
    counting = setTimeout(() => {
      packets += packetsPerCount;
      report();
      count(countMs);
    }, inMs);
  };
  closing.defer(() => clearTimeout(counting));
  const owned = closing.move();
  return {
    carry: (isTraffic) => {
      clearTimeout(counting);
      // Not all nodes at the same moment.
      if (isTraffic) count(Math.random() * countMs);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function inForce(
  { ref, object }: { readonly ref: ObjectReport["ref"]; readonly object: KubeObject },
  packets: number,
): ObjectReport {
  const conditions = ["Ready", "Accepted", "Loaded", "Attached"].map((type) => ({
    type,
    status: "True",
    reason: type,
    message: "in force",
  }));
  const metrics = {
    packetsPassed: packets,
    bytesPassed: 800 * packets,
    packetsDropped: packets / 10,
    bytesDropped: 80 * packets,
  };
  const status = { conditions, ...(packets > 0 && { metrics }) };
  return { ref, object: { ...object, status }, state: "in-force", messages: [], events: [] };
}
