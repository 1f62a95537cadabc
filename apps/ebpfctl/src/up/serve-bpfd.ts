import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DirectoryStore, type Agent } from "@bpfleet/agent";
import { errorText, type Clock } from "@bpfleet/base";
import { Loader, loadStaticPrograms, parseBpfdConfig, serveLoader, type BpfdConfig } from "@bpfleet/loader";
import { Failure } from "../failure.ts";

/** bpfd's API over this node's declarations, as a bpfd.toml says, and the programs of programs.d beside it. */
export async function serveBpfd(
  config: BpfdConfig,
  node: {
    /** Of the bpfd.toml. */
    readonly path: string;
    readonly store: string;
    readonly agent: Agent;
    readonly clock: Clock;
    readonly onNotice: (notice: string) => void;
  },
): Promise<AsyncDisposable> {
  const store = new DirectoryStore({ directory: node.store, clock: node.clock });
  try {
    await loadStaticPrograms(join(dirname(node.path), "programs.d"), { ...node, store });
    return await serveLoader(new Loader({ store, agent: node.agent, layout: config.layout }), config, node);
  } catch (cause) {
    throw new Failure(errorText(cause));
  }
}

export async function readBpfdConfig(path: string): Promise<BpfdConfig> {
  try {
    return parseBpfdConfig(await readFile(path, "utf8"));
  } catch (cause) {
    throw new Failure(`read ${path}: ${errorText(cause)}`);
  }
}
