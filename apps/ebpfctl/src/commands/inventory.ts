import { renderAge, renderTable } from "@bpfleet/base";
import { DaemonClient } from "@bpfleet/daemon/client";
import type { Inventory, InventoryLink, InventoryMap, InventoryProgram } from "@bpfleet/kernel";
import { parseConfig } from "../config.ts";
import { Failure } from "../failure.ts";
import { sortKeys } from "../output/print-objects.ts";
import type { World } from "../world.ts";
import type { DefineCommand } from "./mod.ts";

interface Listing<T> {
  readonly command: string;
  readonly summary: string;
  readonly what: string;
  pick(inventory: Inventory): readonly T[];
  readonly columns: readonly {
    readonly name: string;
    readonly isWide?: true;
    readonly cell: (item: T, nowMs: number) => string;
  }[];
}

const owner = ({ ours }: { readonly ours?: string | undefined }) => ours ?? "<foreign>";

const programs: Listing<InventoryProgram> = {
  command: "prog",
  summary: "list every BPF program on this node, ours and foreign",
  what: "programs",
  pick: (inventory) => inventory.programs,
  columns: [
    { name: "ID", cell: ({ id }) => String(id) },
    { name: "TYPE", cell: ({ type }) => type },
    { name: "NAME", cell: ({ name }) => name },
    { name: "OWNER", cell: owner },
    { name: "RUNS", cell: ({ runCount }) => String(runCount) },
    { name: "NS/RUN", cell: ({ runCount, runTimeNs }) => (runCount === 0n ? "" : String(runTimeNs / runCount)) },
    { name: "AGE", cell: ({ loadedAt }, nowMs) => age(loadedAt, nowMs) },
    { name: "TAG", isWide: true, cell: ({ tag }) => tag },
    { name: "UID", isWide: true, cell: ({ uid }) => String(uid) },
    { name: "INSNS", isWide: true, cell: ({ verifiedInsns }) => String(verifiedInsns) },
    { name: "JITED", isWide: true, cell: ({ jitedBytes }) => String(jitedBytes) },
    { name: "MAPS", isWide: true, cell: ({ mapIds }) => mapIds.join(",") },
  ],
};

const maps: Listing<InventoryMap> = {
  command: "map",
  summary: "list every BPF map on this node, ours and foreign",
  what: "maps",
  pick: (inventory) => inventory.maps,
  columns: [
    { name: "ID", cell: ({ id }) => String(id) },
    { name: "TYPE", cell: ({ type }) => type },
    { name: "NAME", cell: ({ name }) => name },
    { name: "OWNER", cell: owner },
    { name: "KEY", cell: ({ definition }) => String(definition.keySize) },
    { name: "VALUE", cell: ({ definition }) => String(definition.valueSize) },
    { name: "MAX", cell: ({ definition }) => String(definition.maxEntries) },
    { name: "FLAGS", isWide: true, cell: ({ definition }) => `0x${definition.flags.toString(16)}` },
  ],
};

const links: Listing<InventoryLink> = {
  command: "link",
  summary: "list every BPF link on this node, ours and foreign",
  what: "links",
  pick: (inventory) => inventory.links,
  columns: [
    { name: "ID", cell: ({ id }) => String(id) },
    { name: "TYPE", cell: ({ type }) => type },
    { name: "TARGET", cell: ({ target }) => target },
    { name: "PROGRAM", cell: ({ programId }) => String(programId) },
    { name: "OWNER", cell: owner },
  ],
};

export const defineProg: DefineCommand = (program, world) => define(program, world, programs);
export const defineMap: DefineCommand = (program, world) => define(program, world, maps);
export const defineLink: DefineCommand = (program, world) => define(program, world, links);

function define<T extends { readonly ours?: string | undefined }>(
  program: Parameters<DefineCommand>[0],
  world: World,
  listing: Listing<T>,
): void {
  program
    .command(listing.command)
    .summary(listing.summary)
    .description(`What the kernel holds: ${listing.what}, ours and foreign.`)
    .command("list")
    .description(
      `${listing.summary.charAt(0).toUpperCase()}${listing.summary.slice(1)}. Foreign ones are never touched.`,
    )
    .option("--ours", "only ours")
    .option("--no-headers", "leave the first line out")
    .option("-o, --output <form>", "json|wide")
    .action(async (flags, command) => {
      if (flags.output !== undefined && flags.output !== "json" && flags.output !== "wide") {
        throw new Failure(
          `unable to match a printer suitable for the output format "${flags.output}", allowed formats are: json|wide`,
        );
      }
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      const items = listing
        .pick(await daemon.inventory())
        .filter(({ ours }) => flags.ours !== true || ours !== undefined);
      if (flags.output === "json") {
        world.out.write(
          `${JSON.stringify(sortKeys(items), (_, value: unknown) => (typeof value === "bigint" ? Number(value) : value), 2)}\n`,
        );
        return;
      }
      const columns = listing.columns.filter(({ isWide }) => isWide !== true || flags.output === "wide");
      const nowMs = world.clock.now();
      const rows = items.map((item) => columns.map(({ cell }) => cell(item, nowMs)));
      world.out.write(renderTable(flags.headers ? columns.map(({ name }) => name) : undefined, rows));
      if (items.length === 0) world.err.write(`No ${listing.what} found\n`);
    });
}

function age(loadedAt: string, nowMs: number): string {
  const at = Date.parse(loadedAt);
  return Number.isNaN(at) ? "<unknown>" : renderAge(nowMs - at);
}
