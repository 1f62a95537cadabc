import { Failure } from "../failure.ts";
import type { DefineCommand } from "./mod.ts";

/** Documents exec these in pods; they say what there is until they are served. */
export const defineHardwareStatus: DefineCommand = (program) => {
  program
    .command("hardware-status", { hidden: true })
    .description("Not served yet.")
    .action(() => {
      throw new Failure(
        "hardware-status: not served yet; ebpfctl get ebpfprograms -o wide tells whether a program runs in the driver",
      );
    });
};

export const defineMetrics: DefineCommand = (program) => {
  program
    .command("metrics", { hidden: true })
    .description("Not served yet.")
    .argument("[what]", "hardware")
    .action((what) => {
      const words = ["metrics", ...(what === undefined ? [] : [what])].join(" ");
      throw new Failure(`${words}: not served yet; ebpfctl top tells what programs cost`);
    });
};
