import { Option } from "@commander-js/extra-typings";
import { DaemonClient } from "@bpfleet/daemon/client";
import { parseConfig, type Config } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { Failure } from "../failure.ts";
import { renderSampleCost } from "../inventory/sample-cost.ts";
import { SurveyRows } from "../inventory/rows.ts";
import { busyPrograms, renderTop } from "../inventory/top-programs.ts";
import { renderJson } from "../maps/json.ts";
import { parseForm } from "../output/parse-form.ts";
import { sortKeys } from "../output/print-objects.ts";
import type { World } from "../world.ts";
import type { DefineCommand } from "./mod.ts";

const usualWindow = "1s";

export const defineTop: DefineCommand = (program, world) => {
  program
    .command("top")
    .summary("show the programs that take the most CPU time")
    .description(
      "Count and time the runs of every BPF program of this node, ours and foreign, for a moment, and list those that ran, the busiest first. The kernel's statistics are on for the window alone; what that cost is said below.",
    )
    .option("--window <duration>", "how long to count", usualWindow)
    .addOption(new Option("--sort-by <what>", "cpu or runs").choices(["cpu", "runs"] as const).default("cpu" as const))
    .option("--ours", "only ours")
    .option("--no-headers", "leave the first line out")
    .option("-w, --watch", "again and again")
    .option("-o, --output <form>", "json")
    .action(async (flags, command) => {
      parseForm(flags.output, "json");
      const windowMs = Math.round(parseDuration(flags.window));
      if (windowMs < 1) throw new Failure(`invalid duration "${flags.window}" for "--window": give at least 1ms`);
      const config = parseConfig(command.optsWithGlobals(), world);
      await show(flags, windowMs, config, world);
      if (flags.watch !== true) return;
      for (const interrupt = world.onInterrupt(); !interrupt.aborted;) await show(flags, windowMs, config, world);
    });
};

interface TopFlags {
  readonly sortBy: "cpu" | "runs";
  readonly ours?: true | undefined;
  readonly headers: boolean;
  readonly output?: string | undefined;
}

async function show(flags: TopFlags, windowMs: number, config: Config, world: World): Promise<void> {
  using daemon = new DaemonClient(config.socket);
  const survey = await daemon.survey({ sampleMs: windowMs, withEntries: false });
  if (survey.sample === undefined) throw new Failure("the daemon counted no runs: it has no statistics of this kernel");
  const rows = new SurveyRows(survey).programs().filter(({ ours }) => flags.ours !== true || ours !== undefined);
  const busy = busyPrograms(rows, flags.sortBy);
  if (flags.output === "json")
    world.out.write(`${renderJson(sortKeys(busy.map(({ row, ...rest }) => ({ ...rest, program: row }))), 2)}\n`);
  else if (busy.length > 0) world.out.write(renderTop(busy, flags.headers, world.clock.now()));
  else world.err.write("No program ran\n");
  world.err.write(`${renderSampleCost(survey.sample, world.clock)}\n`);
}
