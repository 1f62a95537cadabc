import { errorText } from "@bpfleet/base";
import { DaemonClient } from "@bpfleet/daemon/client";
import { kinds } from "@bpfleet/kinds";
import { parseConfig, type Config } from "../config.ts";
import { planChange } from "../diff/plan-change.ts";
import { renderChanges } from "../diff/render-changes.ts";
import { Failure, SilentFailure } from "../failure.ts";
import { admitObjects } from "../manifests/admit-objects.ts";
import { readInputs } from "../manifests/read-inputs.ts";
import { countMistakes, renderIssues } from "../manifests/render-issues.ts";
import { parseForm } from "../output/parse-form.ts";
import type { World } from "../world.ts";
import { fileOptions, type FileFlags } from "./file-options.ts";
import type { DefineCommand } from "./mod.ts";

/** kubectl diff's: 1 says that there are differences, so errors are 2. */
const exitDifferent = 1;
const exitError = 2;

interface DiffFlags extends FileFlags {
  readonly namespace?: string | undefined;
  readonly output?: string | undefined;
}

export const defineDiff: DefineCommand = (program, world) => {
  fileOptions(
    program
      .command("diff")
      .summary("say what applying files would change in the kernel")
      .description(
        "Say what would change in the kernel of this node if these files were applied: programs, maps and hooks that would come (+), change (~) or go (-). Nothing is changed. Exit code 0: nothing would change, 1: something would, 2: it cannot be told.",
      ),
  )
    .option("-n, --namespace <name>", "namespace of objects that name none")
    .option("-o, --output <form>", "json")
    .action(async (flags, command) => {
      const config = parseConfig(command.optsWithGlobals(), world);
      try {
        if (await showDifferences(flags, config, world)) throw new SilentFailure(exitDifferent);
      } catch (error) {
        if (error instanceof SilentFailure) throw error;
        const message = errorText(error);
        throw new Failure(message, { exitCode: exitError, cause: error });
      }
    });
};

async function showDifferences(flags: DiffFlags, config: Config, world: World): Promise<boolean> {
  parseForm(flags.output, "json");
  const { objects, issues } = admitObjects(await readInputs(flags, world), kinds, flags.namespace);
  world.err.write(renderIssues(issues));
  if (issues.some((issue) => issue.severity === "error")) throw new Failure(countMistakes(issues));
  using daemon = new DaemonClient(config.socket);
  const { changes, problems, isPaused } = await planChange(objects, daemon, config, world);
  if (isPaused) world.err.write("warning: everything is paused: shown is what `ebpfctl resume` would bring too\n");
  for (const { message, severity } of problems)
    world.err.write(`${severity === "refused" ? "error" : "warning"}: ${message}\n`);
  world.out.write(flags.output === "json" ? `${JSON.stringify({ changes }, undefined, 2)}\n` : renderChanges(changes));
  return changes.length > 0;
}
