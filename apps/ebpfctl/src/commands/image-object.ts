import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { BpfObject } from "@bpfleet/native";
import type { LabelFacts } from "@bpfleet/oci";
import { Failure } from "../failure.ts";

export interface ObjectFlags {
  readonly program?: string | undefined;
  readonly name?: string | undefined;
  readonly section?: string | undefined;
  readonly type?: string | undefined;
  readonly kernelVersion?: string | undefined;
}

export interface ReadObject {
  readonly bytes: Uint8Array;
  readonly labels: LabelFacts & { readonly filename: string };
}

/** An object file and what its labels are: read from the object itself, unless flags say otherwise. */
export async function readObject(path: string, flags: ObjectFlags): Promise<ReadObject> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new Failure(`read object ${path}: ${errno}; give what clang -target bpf made`, { cause });
  }
  await using object = BpfObject.open(bytes);
  const programs = object.programs.map(({ name, section, type }) => ({
    name,
    section,
    type: programTypeOf(section, type),
  }));
  const chosen = choose(programs, flags.program, path);
  const type = flags.type ?? chosen?.type;
  const section = flags.section ?? (chosen === undefined ? undefined : bpfdSection(chosen.section));
  const name = flags.name ?? chosen?.name;
  const functionName = chosen?.name;
  const maps = object.maps.filter(({ isInternal }) => !isInternal);
  return {
    bytes,
    labels: {
      filename: basename(path),
      ...(type === undefined ? {} : { programType: type }),
      ...(section === undefined ? {} : { sectionName: section }),
      ...(name === undefined ? {} : { programName: name }),
      ...(functionName === undefined ? {} : { functionName }),
      ...(flags.kernelVersion === undefined ? {} : { kernelVersion: flags.kernelVersion }),
      programs: Object.fromEntries(programs.map((each) => [each.name, each.type])),
      maps: Object.fromEntries(maps.map((each) => [each.name, each.type.replace("percpu", "per_cpu")])),
    },
  };
}

interface Program {
  readonly name: string;
  readonly section: string;
  readonly type: string;
}

/** The one program that the labels of a single program are about; none when there are several. */
function choose(programs: readonly Program[], wanted: string | undefined, path: string): Program | undefined {
  if (programs.length === 0)
    throw new Failure(`read object ${path}: it has no program; put one in a section, SEC("xdp")`);
  if (wanted === undefined) return programs.length === 1 ? programs[0] : undefined;
  const names = programs.map(({ name }) => name).join(", ");
  const found = programs.find(
    ({ name, section }) => name === wanted || section === wanted || bpfdSection(section) === wanted,
  );
  if (found === undefined) throw new Failure(`find program ${wanted} in ${path}: it has ${names}`);
  return found;
}

/** `pass` of `xdp/pass`: what bpfd calls the section. */
function bpfdSection(section: string): string {
  const slash = section.indexOf("/");
  return slash < 0 ? section : section.slice(slash + 1);
}

const bySection: readonly (readonly [RegExp, string])[] = [
  [/^xdp(\/|$)/, "xdp"],
  [/^(tc|tcx|classifier|action)(\/|$)/, "tc"],
  [/^(tracepoint|tp)\//, "tracepoint"],
];

/** bpfd's word for a type; of `xdp/pass` and the like libbpf itself does not know it. */
function programTypeOf(section: string, type: string): string {
  return bySection.find(([form]) => form.test(section))?.[1] ?? (type === "sched_cls" ? "tc" : type);
}
