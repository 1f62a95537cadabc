import { release } from "node:os";
import { resolve } from "node:path";
import type { Command } from "@commander-js/extra-typings";
import type { World } from "../world.ts";

export function addGenerateBuildArgs(image: Command, world: World): void {
  image
    .command("generate-build-args")
    .summary("print the build arguments for a Containerfile")
    .description(
      "Print what the Containerfile of a bytecode image takes as build arguments, one NAME=value a line, read from the object.",
    )
    .argument("<object>", "what clang -target bpf made")
    .option(
      "--program <name>",
      "which program the arguments of a single program are about; needed when there are several",
    )
    .option("--kernel-version <text>", "KERNEL_COMPILE_VER; usually that of the running kernel")
    .action(async (path, flags) => {
      const [{ readObject }, { renderBuildArgs }] = await Promise.all([
        import("./image-object.ts"),
        import("@bpfleet/oci"),
      ]);
      const kernelVersion = flags.kernelVersion ?? release();
      const { labels } = await readObject(resolve(world.cwd, path), { ...flags, kernelVersion });
      for (const line of renderBuildArgs(labels)) world.out.write(`${line}\n`);
      if (labels.programName === undefined)
        world.err.write(
          "note: there are several programs; without --program there is no PROGRAM_NAME, SECTION_NAME and PROGRAM_TYPE\n",
        );
    });
}
