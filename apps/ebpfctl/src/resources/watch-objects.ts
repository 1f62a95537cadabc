import { setTimeout as sleep } from "node:timers/promises";
import { fetchReport, type NodeReport } from "@bpfleet/agent";
import { KernelError } from "@bpfleet/base";
import type { Config } from "../config.ts";
import type { World } from "../world.ts";
import { readNode } from "./load-node.ts";

const lookMs = 500;

/** Reports again and again until the user interrupts; over restarts of the agent too. */
export async function watchObjects(
  config: Config,
  world: World,
  onReport: (report: NodeReport) => void,
): Promise<void> {
  const signal = world.onInterrupt();
  while (!signal.aborted) {
    await sleep(lookMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    onReport(await look(config, world));
  }
}

async function look(config: Config, world: World): Promise<NodeReport> {
  try {
    return await fetchReport(config.agentSocket);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return readNode(config, world);
  }
}
