import { isRecord } from "@bpfleet/base";
import type { BytecodeLabels } from "../bytecode.ts";
import { malformed, textsOf } from "./manifest.ts";

const names = {
  programType: "io.ebpf.program_type",
  filename: "io.ebpf.filename",
  programName: "io.ebpf.program_name",
  sectionName: "io.ebpf.section_name",
  functionName: "io.ebpf.bpf_function_name",
  kernelVersion: "io.ebpf.kernel_version",
} as const;
const programsLabel = "io.ebpf.programs";
const mapsLabel = "io.ebpf.maps";

/** What a builder says about an object. */
export type LabelFacts = Omit<BytecodeLabels, "all">;

/** The labels of a configuration; those that are not of eBPF stay in `all` only. `what` names the image in messages. */
export function readLabels(config: Readonly<Record<string, unknown>>, what: string): BytecodeLabels {
  const inner = config["config"];
  const all = textsOf(isRecord(inner) ? inner["Labels"] : undefined);
  const single = Object.entries(names).flatMap(([field, label]) => {
    const value = all[label];
    return value === undefined || value === "" ? [] : [[field, value] as const];
  });
  const programs = readTable(all[programsLabel], programsLabel, what);
  const maps = readTable(all[mapsLabel], mapsLabel, what);
  return {
    ...Object.fromEntries(single),
    ...(programs === undefined ? {} : { programs }),
    ...(maps === undefined ? {} : { maps }),
    all,
  };
}

/** The labels as an image has them, in a fixed order. */
export function renderLabels(facts: LabelFacts): Readonly<Record<string, string>> {
  const single = Object.entries(names).flatMap(([field, label]) => {
    const value = facts[field as keyof typeof names];
    return value === undefined ? [] : [[label, value] as const];
  });
  const tables = [
    [programsLabel, facts.programs],
    [mapsLabel, facts.maps],
  ] as const;
  return Object.fromEntries([
    ...single,
    ...tables.flatMap(([label, table]) => (table === undefined ? [] : [[label, renderTable(table)] as const])),
  ]);
}

/** The arguments that the Containerfiles of bytecode images take: bpfd's first, then those of its successor. */
export function renderBuildArgs(facts: LabelFacts): readonly string[] {
  const { programName, sectionName, programType, filename, kernelVersion, programs, maps } = facts;
  const single = [
    ["PROGRAM_NAME", programName],
    ["SECTION_NAME", sectionName],
    ["PROGRAM_TYPE", programType],
    ["BYTECODE_FILENAME", filename],
    ["KERNEL_COMPILE_VER", kernelVersion],
    ["BYTECODE_FILE", filename],
    ["PROGRAMS", programs === undefined ? undefined : renderTable(programs)],
    ["MAPS", maps === undefined ? undefined : renderTable(maps)],
  ] as const;
  return single.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
}

function renderTable(table: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.fromEntries(Object.entries(table).toSorted(([a], [b]) => (a < b ? -1 : 1))));
}

function readTable(
  text: string | undefined,
  label: string,
  what: string,
): Readonly<Record<string, string>> | undefined {
  if (text === undefined || text === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return malformed(`read ${what}: its label ${label} is not JSON; write {"name": "type"}`);
  }
  const table = textsOf(value);
  if (!isRecord(value) || Object.keys(table).length !== Object.keys(value).length)
    return malformed(`read ${what}: its label ${label} must be an object of names and types, {"name": "type"}`);
  return table;
}
