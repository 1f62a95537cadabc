import { readFile } from "node:fs/promises";
import { DirectoryStore, type Agent } from "@bpfleet/agent";
import type { Clock } from "@bpfleet/base";
import { Loader, parseBpfdConfig, serveLoader, type BpfdConfig } from "@bpfleet/loader";
import { Failure } from "../failure.ts";

/** bpfd's API over this node's declarations, as a bpfd.toml says. */
export async function serveBpfd(
  config: BpfdConfig,
  node: {
    readonly store: string;
    readonly agent: Agent;
    readonly clock: Clock;
    readonly onNotice: (notice: string) => void;
  },
): Promise<AsyncDisposable> {
  const store = new DirectoryStore({ directory: node.store, clock: node.clock });
  try {
    return await serveLoader(new Loader({ store, agent: node.agent, layout: config.layout }), config, node);
  } catch (cause) {
    throw new Failure(cause instanceof Error ? cause.message : String(cause));
  }
}

export async function readBpfdConfig(path: string): Promise<BpfdConfig> {
  try {
    return parseBpfdConfig(await readFile(path, "utf8"));
  } catch (cause) {
    throw new Failure(`read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}
