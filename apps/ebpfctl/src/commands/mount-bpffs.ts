import { chmodSync, chownSync, lchownSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { rememberOwnMount } from "@bpfleet/daemon/client";
import { isBpffs, mountBpffs } from "@bpfleet/native";
import { parseConfig } from "../config.ts";
import { Failure } from "../failure.ts";
import type { DefineCommand } from "./mod.ts";

/**
 * Prepares a node for a daemon without the rights of root, in a container that ends then: only a privileged one
 * can mount where the host sees it.
 */
export const defineMountBpffs: DefineCommand = (program, world) => {
  program
    .command("mount-bpffs", { hidden: true })
    .description("Mount a BPF file system on each directory that is none.")
    .argument("<own>", "where our pins are")
    .argument("[shared]", "where maps are pinned that others open by their documented paths")
    .option("--owner <uid>", "user and group that the daemon runs as")
    .option("--give <directory...>", "further directories that are to be its own")
    .action(async (own, shared, { owner, give = [] }, command) => {
      const { state } = parseConfig(command.optsWithGlobals(), world);
      for (const directory of [own, ...(shared === undefined ? [] : [shared])]) {
        mkdirSync(directory, { recursive: true, mode: 0o700 });
        const isThere = isBpffs(directory);
        if (!isThere) await mountBpffs(directory);
        if (!isThere && directory === own) {
          mkdirSync(state, { recursive: true, mode: 0o700 });
          rememberOwnMount(state, own);
        }
        world.out.write(`${directory}: ${isThere ? "was" : "is now"} a BPF file system\n`);
      }
      if (owner === undefined) return;
      const uid = Number(owner);
      if (!/^\d{1,9}$/.test(owner)) throw new Failure(`read --owner ${owner}: it is not the number of a user`);
      for (const directory of give) mkdirSync(directory, { recursive: true, mode: 0o700 });
      for (const directory of [own, ...give]) giveAway(directory, uid);
      if (shared !== undefined) openToGroup(shared, uid);
    });
};

/** With all that is in it, from a daemon that ran as another user. */
function giveAway(path: string, uid: number): void {
  lchownSync(path, uid, uid);
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const at = join(path, entry.name);
    if (entry.isDirectory()) giveAway(at, uid);
    else lchownSync(at, uid, uid);
  }
}

/** Its owner stays, and what is in it stays as it is. */
function openToGroup(path: string, gid: number): void {
  const { mode, uid, gid: group } = statSync(path);
  const isOpen = (mode & 0o003) === 0o003 || (group === gid && (mode & 0o030) === 0o030);
  if (isOpen) return;
  chownSync(path, uid, gid);
  chmodSync(path, (mode & 0o7777) | 0o070);
}
