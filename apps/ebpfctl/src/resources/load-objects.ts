import { type NodeReport } from "@bpfleet/agent";
import { renderTime } from "@bpfleet/base";
import type { ClusterObjects } from "../cluster/cluster-objects.ts";
import type { ClusterPlace } from "../cluster/cluster-place.ts";
import type { Config } from "../config.ts";
import type { World } from "../world.ts";
import { loadNode, readNode } from "./load-node.ts";
import type { ResourceWish } from "./resource-args.ts";
import type { Scope } from "./select-objects.ts";

export interface ObjectsAsked {
  readonly wishes: readonly ResourceWish[];
  readonly scope: Scope;
  readonly withEvents?: boolean;
  /** From the files alone, where there is no cluster: what became of them is not asked. */
  readonly isBare?: boolean;
}

/** The objects of this node, or those of the cluster that is named. */
export async function loadObjects(config: Config, world: World, asked: ObjectsAsked): Promise<NodeReport> {
  if (config.cluster === undefined) return asked.isBare === true ? readNode(config, world) : loadNode(config, world);
  await using cluster = await openCluster(config.cluster, world);
  return await cluster.read(asked.wishes, asked.scope, renderTime(world.clock.now()), asked.withEvents);
}

/** Its code is loaded where a cluster is asked. */
export async function openCluster(place: ClusterPlace, world: World): Promise<ClusterObjects> {
  const { ClusterObjects: objects } = await import("../cluster/cluster-objects.ts");
  return objects.open(place, world);
}

interface NamespaceFlags {
  readonly namespace?: string | undefined;
  readonly allNamespaces?: true | undefined;
}

interface WithSources {
  getOptionValueSource(name: string): string | undefined;
}

/** `undefined` is every namespace. What nobody names is the one of the kubeconfig's context, or `default`. */
export async function namespaceAsked(
  { namespace, allNamespaces }: NamespaceFlags,
  command: WithSources,
  { cluster }: Config,
  world: World,
): Promise<string | undefined> {
  if (allNamespaces === true) return undefined;
  if (cluster !== undefined && command.getOptionValueSource("namespace") !== "cli") {
    await using opened = await openCluster(cluster, world);
    return opened.namespace;
  }
  return namespace ?? "default";
}
