import { setTimeout as sleep } from "node:timers/promises";
import { fetchReport, type NodeReport } from "@bpfleet/agent";
import { KernelError } from "@bpfleet/base";
import type { Config } from "../config.ts";
import type { World } from "../world.ts";
import { readNode } from "./load-node.ts";
import { loadObjects, type ObjectsAsked } from "./load-objects.ts";

const lookMs = 500;
const clusterLookMs = 2000;

/** Reports again and again until the user interrupts; over restarts of the agent too. */
export async function watchObjects(
  config: Config,
  world: World,
  asked: ObjectsAsked,
  onReport: (report: NodeReport) => void,
): Promise<void> {
  const signal = world.onInterrupt();
  while (!signal.aborted) {
    await sleep(config.cluster === undefined ? lookMs : clusterLookMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    onReport(await look(config, world, asked));
  }
}

async function look(config: Config, world: World, asked: ObjectsAsked): Promise<NodeReport> {
  if (config.cluster !== undefined) return loadObjects(config, world, asked);
  try {
    return await fetchReport(config.agentSocket);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return readNode(config, world);
  }
}
