import { DaemonClient } from "@bpfleet/daemon/client";
import { parseConfig } from "../config.ts";
import { whileTelling } from "../output/progress.ts";
import type { DefineCommand } from "./mod.ts";

export const definePause: DefineCommand = (program, world) => {
  program
    .command("pause")
    .summary("detach everything at once, until resume")
    .description(
      "The emergency switch: detach every program of ours from this node at once. It stays so, over restarts too, until `ebpfctl resume`; objects can still be declared.",
    )
    .action(async (_flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      await whileTelling(world, "detaching", () => daemon.pause());
      world.out.write("paused: nothing of ours decides about packets on this node until `ebpfctl resume`\n");
    });
};

export const defineResume: DefineCommand = (program, world) => {
  program
    .command("resume")
    .summary("attach everything again after pause")
    .description("Attach everything that is declared again after `ebpfctl pause`.")
    .action(async (_flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      await whileTelling(world, "attaching", () => daemon.resume());
      world.out.write("resumed\n");
    });
};
