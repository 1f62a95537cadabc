import { alignTabs, describeTabs, renderTable } from "@bpfleet/base";
import { DaemonClient, type Survey } from "@bpfleet/daemon/client";
import { parseConfig } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { Failure } from "../failure.ts";
import { links, maps, programs, type Listing } from "../inventory/listings.ts";
import { SurveyRows } from "../inventory/rows.ts";
import { renderSampleCost } from "../inventory/sample-cost.ts";
import { renderJson } from "../maps/json.ts";
import { parseForm } from "../output/parse-form.ts";
import { sortKeys } from "../output/print-objects.ts";
import type { World } from "../world.ts";
import type { DefineCommand } from "./mod.ts";

/** Long enough for a count, short enough for a look. */
const usualSample = "200ms";

export const defineProg: DefineCommand = (program, world) => {
  define(program, world, programs);
};
export const defineLink: DefineCommand = (program, world) => {
  define(program, world, links);
};
/** `map` with its lists; what else can be done with maps is added to it. */
export const defineMapListing = (program: Parameters<DefineCommand>[0], world: World) => define(program, world, maps);

interface Item {
  readonly id: number;
  readonly ours?: string | undefined;
}

function define<T extends Item>(program: Parameters<DefineCommand>[0], world: World, listing: Listing<T>) {
  const { command: name, summary, what } = listing;
  const parent = program
    .command(name)
    .summary(summary)
    .description(`What the kernel holds: ${what}, ours and foreign.`);
  const list = parent
    .command("list")
    .description(
      `List every BPF ${name === "prog" ? "program" : name} on this node, ours and foreign, with its owner. Foreign ones are never touched.`,
    )
    .option("--ours", "only ours")
    .option("--no-headers", "leave the first line out")
    .option("-o, --output <form>", "json|wide");
  if (name === "prog")
    list.option("--sample [duration]", `count runs in a window from now on (${usualSample}); RUNS are then per second`);
  list.action(async (given, command) => {
    const flags: typeof given & { readonly sample?: string | true } = given;
    parseForm(flags.output, "json", "wide");
    const sampleMs = flags.sample === undefined ? 0 : parseDuration(flags.sample === true ? usualSample : flags.sample);
    const survey = await readSurvey(command, world, sampleMs, flags.output !== undefined);
    const items = listing.pick(new SurveyRows(survey)).filter(({ ours }) => flags.ours !== true || ours !== undefined);
    if (survey.sample !== undefined) world.err.write(`${renderSampleCost(survey.sample, world.clock)}\n`);
    if (flags.output === "json") {
      world.out.write(`${renderJson(sortKeys(items), 2)}\n`);
      return;
    }
    const columns = listing.columns.filter(({ isWide }) => isWide !== true || flags.output === "wide");
    const nowMs = world.clock.now();
    const rows = items.map((item) => columns.map(({ cell }) => cell(item, nowMs)));
    world.out.write(renderTable(flags.headers ? columns.map((column) => column.name) : undefined, rows));
    if (items.length === 0) world.err.write(`No ${what} found\n`);
    for (const { kind, key, text } of survey.findings)
      if (kind !== "healed") world.err.write(`${kind}: ${key}: ${text}\n`);
  });
  parent
    .command("show")
    .description(`Everything known of one ${name === "prog" ? "program" : name}: owner, holders, what it costs.`)
    .argument("<id>", `its id, as \`ebpfctl ${name} list\` has it`)
    .option("-o, --output <form>", "json")
    .action(async (id, flags, command) => {
      if (!/^[1-9]\d{0,9}$/.test(id)) throw new Failure(`invalid id ${JSON.stringify(id)}: give a number from 1`);
      parseForm(flags.output, "json");
      const survey = await readSurvey(command, world, 0, true);
      const item = listing.pick(new SurveyRows(survey)).find((each) => each.id === Number(id));
      if (item === undefined) throw new Failure(`there is no ${name} ${id}; \`ebpfctl ${name} list\` has them all`);
      if (flags.output === "json") world.out.write(`${renderJson(sortKeys(item), 2)}\n`);
      else world.out.write(renderDetails(listing, item, world.clock.now()));
    });
  return parent;
}

function renderDetails<T>({ columns, details }: Listing<T>, item: T, nowMs: number): string {
  const lines = [...columns, ...details].flatMap(({ name, cell }) => {
    const text = cell(item, nowMs);
    return text === "" ? [] : [`${name.charAt(0)}${name.slice(1).toLowerCase()}:\t${text}`];
  });
  return `${alignTabs(lines, describeTabs)}\n`;
}

async function readSurvey(
  command: { optsWithGlobals(): Parameters<typeof parseConfig>[0] },
  world: World,
  sampleMs: number,
  withEntries: boolean,
): Promise<Survey> {
  using daemon = new DaemonClient(parseConfig(command.optsWithGlobals(), world).socket);
  return await daemon.survey({ sampleMs: Math.round(sampleMs), withEntries });
}
