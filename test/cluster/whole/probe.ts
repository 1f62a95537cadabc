import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { groupsFor, makeGroup, nodeScript, removeGroup } from "./node.ts";

/** At what this machine does not let us make a node, in its own words; `undefined` when it does. */
export function whyNoNode(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-probe-"));
  const groups = groupsFor(`bpfleet-probe-${process.pid}`);
  try {
    for (const group of groups) makeGroup(group);
    for (const name of ["var-lib", "etc", "etc-work"]) mkdirSync(join(folder, name));
    writeFileSync(join(folder, "groups"), groups.map((group) => `${group}\n`).join(""));
    const { status, stderr, error } = spawnSync("/bin/bash", [nodeScript, "probe", join(folder, "groups"), folder], {
      encoding: "utf8",
      timeout: 30_000,
    });
    if (error !== undefined) throw error;
    return status === 0 ? undefined : refusal(stderr.trim().split("\n").at(-1) ?? `ended with ${status}`);
  } catch (error) {
    return refusal(error instanceof Error ? error.message : String(error));
  } finally {
    const end = performance.now() + 5000;
    while (!groups.map(removeGroup).every(Boolean) && performance.now() < end);
    rmSync(folder, { recursive: true, force: true });
  }
}

function refusal(said: string): string {
  return `this machine refuses a node in namespaces: ${said.replace(/^.*node\.sh: (line \d+: )?/, "")}`;
}
