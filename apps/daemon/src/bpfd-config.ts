import { readFile } from "node:fs/promises";
import { errorText } from "@bpfleet/base";
import type { DaemonOptions } from "@bpfleet/daemon";

/** What a bpfd.toml says of this node. Its API is one of a node without a cluster: here programs are declared. */
export async function readXdpModes(
  path: string | undefined,
  onNotice: (notice: string) => void,
): Promise<DaemonOptions["xdpModes"]> {
  if (path === undefined) return undefined;
  try {
    const { parseBpfdConfig } = await import("@bpfleet/loader/config");
    const { xdpModes, notices } = parseBpfdConfig(await readFile(path, "utf8"));
    for (const notice of notices) onNotice(`${path}: ${notice}`);
    return xdpModes;
  } catch (cause) {
    throw new Error(`read ${path}: ${errorText(cause)}`, { cause });
  }
}
