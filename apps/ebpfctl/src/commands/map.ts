import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { BtfValue } from "@bpfleet/btf";
import { DaemonClient, type MapRef } from "@bpfleet/daemon/client";
import { noEntries } from "@bpfleet/kernel";
import { parseConfig } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { Failure } from "../failure.ts";
import { EntryCodec, sumValues } from "../maps/entry-codec.ts";
import { renderJson } from "../maps/json.ts";
import { compareEntries, type MapChange } from "../maps/map-changes.ts";
import { parseMapRef } from "../maps/map-ref.ts";
import { entryJson, renderEntries, renderValue } from "../maps/render-entries.ts";
import { parseForm } from "../output/parse-form.ts";
import type { World } from "../world.ts";
import { defineMapListing } from "./inventory.ts";
import type { DefineCommand } from "./mod.ts";

const mapArgument = "its id, its pin path, ebpfmap/NAME, or its key as `ebpfctl map list` has it";
const keyArgument = "a number, 0x…, a prefix, or JSON for a struct";

/** A map of one's own choice can have millions of entries. */
const usualLimit = "10000";

export const defineMap: DefineCommand = (program, world) => {
  const map = defineMapListing(program, world);
  const refOf = (name: string, namespace: string) =>
    parseMapRef(name, namespace, { cwd: world.cwd, exists: existsSync });
  map
    .command("dump")
    .description(
      "Print the entries of a map by the types of its keys and values: structs field by field, LPM keys as prefixes, ports and addresses as people write them. Values of per-CPU maps are added up. Any map can be read, ours or foreign.",
    )
    .argument("<map>", mapArgument)
    .option("-n, --namespace <name>", "namespace of the EBPFMap", "default")
    .option("--per-cpu", "the value of every CPU instead of their sum")
    .option("--limit <number>", "not more entries than this", usualLimit)
    .option("-o, --output <form>", "table|json", "table")
    .action(async (name, flags, command) => {
      const isJson = parseForm(flags.output, "table", "json") === "json";
      using session = open(command, world);
      const max = parseWhole("--limit", flags.limit);
      const reading = await session.daemon.readMap({ map: refOf(name, flags.namespace), max });
      const isPerCpu = flags.perCpu === true && reading.cpus > 0;
      const entries = new EntryCodec(reading).entries(reading);
      if (isJson) {
        const shown = entries.map((entry) => entryJson(entry, isPerCpu));
        world.out.write(`${renderJson(shown, 2)}\n`);
      } else if (entries.length > 0) world.out.write(renderEntries(entries, isPerCpu));
      else world.err.write("No entries found\n");
      if (!reading.isWhole) world.err.write(`warning: there are more than ${max} entries; --limit shows more\n`);
    });
  map
    .command("get")
    .description("Print one entry of a map by the types of its key and value.")
    .argument("<map>", mapArgument)
    .argument("<key>", keyArgument)
    .option("-n, --namespace <name>", "namespace of the EBPFMap", "default")
    .option("--per-cpu", "the value of every CPU instead of their sum")
    .option("-o, --output <form>", "table|json", "table")
    .action(async (name, key, flags, command) => {
      const isJson = parseForm(flags.output, "table", "json") === "json";
      using session = open(command, world);
      const ref = refOf(name, flags.namespace);
      const codec = await session.codec(ref);
      const reading = await session.daemon.readMap({ map: ref, key: codec.encodeKey(key), max: 1 });
      const entries = codec.entries(reading);
      const isPerCpu = flags.perCpu === true && reading.cpus > 0;
      const [entry] = entries;
      world.out.write(
        isJson ? `${renderJson(entry && entryJson(entry, isPerCpu), 2)}\n` : renderEntries(entries, isPerCpu),
      );
    });
  map
    .command("set")
    .description(
      "Write one entry of a map. Sealed maps refuse: their contents are part of a declaration. What an EBPFMap declares comes back by itself. On per-CPU maps every CPU gets the value.",
    )
    .argument("<map>", mapArgument)
    .argument("<key>", keyArgument)
    .argument("<value>", "a number, 0x…, or JSON for a struct; fields that are not named become 0")
    .option("-n, --namespace <name>", "namespace of the EBPFMap", "default")
    .option("--force", "also when the map is not ours")
    .action(async (name, key, value, flags, command) => {
      using session = open(command, world);
      const ref = refOf(name, flags.namespace);
      const codec = await session.codec(ref);
      const puts = { count: 1, keys: codec.encodeKey(key), values: codec.encodeValue(value) };
      await session.daemon.writeMap({ map: ref, puts, deletes: noEntries, force: flags.force === true });
      world.out.write(`entry ${key} of map ${name} set\n`);
    });
  map
    .command("delete")
    .description("Delete one entry of a map. The same maps refuse as with `set`.")
    .argument("<map>", mapArgument)
    .argument("<key>", keyArgument)
    .option("-n, --namespace <name>", "namespace of the EBPFMap", "default")
    .option("--force", "also when the map is not ours")
    .action(async (name, key, flags, command) => {
      using session = open(command, world);
      const ref = refOf(name, flags.namespace);
      const deletes = { count: 1, keys: (await session.codec(ref)).encodeKey(key), values: new Uint8Array(0) };
      await session.daemon.writeMap({ map: ref, puts: noEntries, deletes, force: flags.force === true });
      world.out.write(`entry ${key} of map ${name} deleted\n`);
    });
  map
    .command("watch")
    .description("Print what changes in a map, until interrupted: + added, ~ changed, - removed.")
    .argument("<map>", mapArgument)
    .option("-n, --namespace <name>", "namespace of the EBPFMap", "default")
    .option("--interval <duration>", "time between two looks", "1s")
    .option("--count <number>", "end after so many changes")
    .option("--limit <number>", "look at not more entries than this", usualLimit)
    .option("-o, --output <form>", "table|json: one document a line", "table")
    .action(async (name, flags, command) => {
      const isJson = parseForm(flags.output, "table", "json") === "json";
      const ref = refOf(name, flags.namespace);
      const max = parseWhole("--limit", flags.limit);
      const pauseMs = Math.max(10, parseDuration(flags.interval));
      let left = flags.count === undefined ? Infinity : parseWhole("--count", flags.count);
      using session = open(command, world);
      const signal = world.onInterrupt();
      const first = await session.daemon.readMap({ map: ref, max });
      const codec = new EntryCodec(first);
      if (!first.isWhole) world.err.write(`warning: only ${max} entries are watched; --limit watches more\n`);
      let before = codec.entries(first);
      world.err.write(`watching ${before.length} entries of map ${first.id} (${first.name})\n`);
      while (left > 0 && !signal.aborted) {
        await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) break;
        const after = codec.entries(await session.daemon.readMap({ map: { by: "id", id: first.id }, max }));
        const changes = compareEntries(before, after).slice(0, left);
        for (const change of changes) world.out.write(renderChange(change, world.clock.now(), isJson));
        left -= changes.length;
        before = after;
      }
    });
};

interface Session extends Disposable {
  readonly daemon: DaemonClient;
  codec(map: MapRef): Promise<EntryCodec>;
}

function open(command: { optsWithGlobals(): Parameters<typeof parseConfig>[0] }, world: World): Session {
  const daemon = new DaemonClient(parseConfig(command.optsWithGlobals(), world).socket);
  return {
    daemon,
    codec: async (map) => new EntryCodec(await daemon.readMap({ map, max: 0 })),
    [Symbol.dispose]: () => daemon[Symbol.dispose](),
  };
}

function renderChange(change: MapChange, nowMs: number, isJson: boolean): string {
  const at = new Date(nowMs).toISOString();
  const { key } = change.entry;
  const value = sumValues(change.entry.values);
  const before: BtfValue | undefined = change.change === "changed" ? sumValues(change.before.values) : undefined;
  if (isJson)
    return `${renderJson({ at, change: change.change, key, ...(before !== undefined && { before }), value })}\n`;
  const sign = { added: "+", changed: "~", removed: "-" }[change.change];
  const text = before === undefined ? renderValue(value) : `${renderValue(before)} → ${renderValue(value)}`;
  return `${at.slice(11, 23)} ${sign} ${renderValue(key)}: ${text}\n`;
}

function parseWhole(flag: string, text: string): number {
  if (!/^[1-9]\d{0,7}$/.test(text))
    throw new Failure(`invalid argument ${JSON.stringify(text)} for "${flag}": give a number from 1`);
  return Number(text);
}
