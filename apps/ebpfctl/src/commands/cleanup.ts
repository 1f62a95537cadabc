import { existsSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { KernelError } from "@bpfleet/base";
import { forgetOwnMount, isOwnMount } from "@bpfleet/daemon/client";
import type { ObservedKernel } from "@bpfleet/kernel";
import { BpfError, isBpffs, NodeKernel, PathLock, unmount } from "@bpfleet/native";
import { parseConfig, type Config } from "../config.ts";
import { Failure } from "../failure.ts";
import { count } from "../manifests/render-issues.ts";
import { whileTelling } from "../output/progress.ts";
import { removeProgramFiles } from "../up/program-files.ts";
import type { DefineCommand } from "./mod.ts";

/** What the daemon and the agent keep in the state directory; the objects in the store are the user's. */
const remembered = ["plan", "sealed", "journal", "paused", "rules", "hash-seed", "status"];
/** Read by the CNI plug-in where the daemon does not answer; one that runs does not write it again. */
const ofPods = "cni-known";

/** What some kernels put into every bpffs. */
const madeByKernel = new Set(["maps.debug", "progs.debug"]);

export const defineCleanup: DefineCommand = (program, world) => {
  program
    .command("cleanup")
    .summary("remove everything of ours from this node")
    .description(
      "Remove every program, map, link and pin of ours from the kernel of this node, and what was remembered of them, without daemon or cluster. Declared objects stay where they are: `ebpfctl up` puts them into force again.",
    )
    .option("--force", "also while a daemon runs, which will put everything back")
    .option("--keep-state", "keep the last plan and the status")
    .action(async (flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      const removed = await whileTelling(world, "removing", () => cleanKernel(config, flags.force === true));
      removeProgramFiles(config.socket);
      if (flags.keepState !== true)
        await forget(config.state, flags.force === true ? remembered : [...remembered, ofPods]);
      world.out.write(
        removed === undefined
          ? `nothing of ours is in the kernel: ${config.bpffs} is no bpffs\n`
          : `removed ${removed}\n`,
      );
    });
};

/** With what a daemon that was killed had begun to write. */
async function forget(state: string, names: readonly string[]): Promise<void> {
  if (!existsSync(state)) return;
  for (const name of readdirSync(state)) {
    const written = name.replace(/(\.\d+\.\d+)?\.new$/, "");
    if (names.includes(written)) await rm(join(state, name), { recursive: true, force: true });
  }
}

/** What was removed, in words; `undefined` where nothing can be. */
async function cleanKernel(config: Config, isForced: boolean): Promise<string | undefined> {
  const { bpffs, socket, state } = config;
  if (!existsSync(bpffs) || !isBpffs(bpffs)) return undefined;
  let observed: ObservedKernel;
  {
    using _lock = isForced ? undefined : takeNode(bpffs);
    const kernel = await NodeKernel.open({
      bpffsDir: bpffs,
      loadObject: async () => undefined,
      types: join(dirname(socket), "btf"),
    });
    observed = await kernel.observe();
    await kernel.removeEverything();
  }
  const isEmpty = readdirSync(bpffs).every((name) => madeByKernel.has(name));
  if (!isForced && isEmpty && isOwnMount(state, bpffs)) {
    await unmount(bpffs).catch(ignoreBusy);
    if (!isBpffs(bpffs)) forgetOwnMount(state);
  }
  const { hooks, programs, maps } = observed;
  return [count(hooks.length, "hook"), count(programs.length, "program"), count(maps.length, "map")].join(", ");
}

function takeNode(bpffs: string): Disposable {
  try {
    return PathLock.take(bpffs);
  } catch (cause) {
    if (!(cause instanceof BpfError) || cause.code !== "busy") throw cause;
    throw new Failure(
      `clean ${bpffs}: a daemon works there and would put everything back; stop it first, or give --force`,
      { cause },
    );
  }
}

/** Somebody else looks into the directory, or mounted it again elsewhere: an empty bpffs does no harm. */
function ignoreBusy(error: unknown): void {
  if (!(error instanceof BpfError) && !(error instanceof KernelError)) throw error;
}
