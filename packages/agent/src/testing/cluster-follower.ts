import type { DaemonResults } from "@bpfleet/daemon";
import type { KubeObject, DefinedKind } from "@bpfleet/kinds";
import { emptyPlan } from "@bpfleet/kernel";
import type { KubeClient } from "@bpfleet/kube-client";
import { followedKinds } from "../cluster/cluster-kinds.ts";
import { ClusterStore } from "../cluster/cluster-store.ts";
import { NodeStateWriter } from "../cluster/node-state-writer.ts";
import type { ObjectReport } from "../report.ts";

export interface FollowerOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly kinds: readonly DefinedKind[];
  readonly onNotice: (notice: string) => void;
  /** Told of all objects when one is different. */
  readonly onObjects: (objects: readonly KubeObject[]) => void;
}

const version = "0.1.0";
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
 * same code, and writes the NodeState when and as that does. What it is told of counts as in force; nothing is planned.
 */
export async function startClusterFollower(options: FollowerOptions): Promise<AsyncDisposable> {
  const { client, nodeName, kinds, onNotice, onObjects } = options;
  await using closing = new AsyncDisposableStack();
  const follow = { cilium: false, calico: false };
  const store = closing.use(new ClusterStore({ client, nodeName, kinds: followedKinds(kinds, follow), onNotice }));
  const nodeState = closing.use(
    new NodeStateWriter({
      client,
      nodeName,
      version,
      clock: { now: () => Date.now(), monotonicMs: () => performance.now() },
      daemon: {
        version: () => ({ version, kernel: "6.18", node: process.version, libbpf: "1.7" }),
        inventory: async () => ({ programs: [], maps: [], links: [] }),
      },
      plan: () => emptyPlan,
      node: () => store.find({ group: "", kind: "Node", namespace: "", name: nodeName }),
      whyNotSynced: () => store.fault()?.message,
      onNotice,
      nodes: () => store.nodes,
    }),
  );
  const tell = async (): Promise<void> => {
    if (!(await store.refresh())) return;
    const { objects } = store.snapshot();
    onObjects(objects.map(({ object }) => object));
    nodeState.reports(objects.map(inForce), settledResults);
  };
  let isFollowing = false;
  closing.use(await store.follow(() => (isFollowing ? void tell() : undefined)));
  isFollowing = true;
  // As the real one looks at what it said before.
  await nodeState.read();
  await tell();
  const owned = closing.move();
  return { [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function inForce({ ref, object }: { readonly ref: ObjectReport["ref"]; readonly object: KubeObject }): ObjectReport {
  const conditions = ["Ready", "Accepted", "Loaded", "Attached"].map((type) => ({
    type,
    status: "True",
    reason: type,
    message: "in force",
  }));
  return { ref, object: { ...object, status: { conditions } }, state: "in-force", messages: [], events: [] };
}
