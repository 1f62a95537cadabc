import type { BytecodeProgram, BytecodeReady, ProgramType } from "@bpfleet/kernel";
import type { BytecodePlace } from "./intent.ts";

export type Matched =
  | { readonly program: BytecodeProgram; readonly reason?: undefined }
  | { readonly program?: undefined; readonly reason: string; readonly message: string };

/**
 * The program that people mean by a section name, as bpfd found it: the section itself, or what follows
 * its type (`pass` is `xdp/pass`), or the function. The first of these ways that finds one decides.
 * Programs of one type may be for several hooks: with `hook`, those whose section names it go before others.
 */
export function matchSection(
  ready: BytecodeReady,
  name: string,
  type: ProgramType,
  hook?: BytecodePlace["hook"],
): Matched {
  const { programs, labels } = ready;
  const found = findProgram(programs, name, type, hook);
  const labelled = labels["io.ebpf.section_name"];
  if (labelled !== undefined && labelled !== "" && labelled !== name) {
    const other = findProgram(programs, labelled, type, hook);
    const isSame = found.program !== undefined && found.program === other.program;
    if (!isSame) {
      const message = `Bytecode image has section name: ${labelled} isn't equal to the provided section name ${name}`;
      return { reason: "SectionMismatch", message };
    }
  }
  return found;
}

function findProgram(
  programs: readonly BytecodeProgram[],
  name: string,
  type: ProgramType,
  hook: BytecodePlace["hook"] | undefined,
): Matched {
  const ways: readonly ((program: BytecodeProgram) => boolean)[] = [
    ({ section }) => section === name,
    ({ section }) => section.includes("/") && section.slice(section.indexOf("/") + 1) === name,
    ({ entry }) => entry === name,
  ];
  let foreign: BytecodeProgram | undefined;
  for (const way of ways) {
    const candidates = programs.filter(way);
    const fitting = candidates.filter((program) => [undefined, type].includes(typeOf(program)));
    // Of programs by one name that which says its type goes before that which says none.
    const typed = fitting.filter((program) => typeOf(program) !== undefined);
    const ofHook = typed.filter(({ section }) => hook !== undefined && hookOfSection(section) === hook);
    const [only, ...others] = ofHook.length > 0 ? ofHook : typed.length > 0 ? typed : fitting;
    if (only !== undefined && others.length === 0) return { program: only };
    if (only !== undefined) return ambiguous(name, [only, ...others]);
    foreign ??= candidates[0];
  }
  if (foreign !== undefined) {
    const message = `section ${foreign.section} holds ${foreign.entry}, a program of type ${typeOf(foreign)}; this attach point takes ${type}`;
    return { reason: "WrongProgramType", message };
  }
  const there = programs.map(({ section, entry }) => `${section} (${entry})`).join(", ");
  const message = `Unable to find a valid program with section name ${name}; the object has ${there === "" ? "no program" : there}`;
  return { reason: "SectionNotFound", message };
}

/** `fentry` of `fentry/do_exit`, `fentry.s/do_exit` and `fentry`. */
export function hookOfSection(section: string): string {
  return (section.split("/")[0] ?? "").replace(/\.(?:s|multi|multi\.s)$/, "");
}

/** What libbpf takes for no type but bpfd did: `xdp/pass`, `classifier/pass`. */
const prefixTypes: Readonly<Record<string, ProgramType>> = {
  xdp: "xdp",
  "xdp.frags": "xdp",
  classifier: "sched_cls",
  tc: "sched_cls",
  tcx: "sched_cls",
};

function typeOf({ type, section }: BytecodeProgram): ProgramType | undefined {
  return type ?? prefixTypes[section.split("/")[0] ?? ""];
}

function ambiguous(name: string, candidates: readonly BytecodeProgram[]): Matched {
  const list = candidates.map(({ section, entry }) => `${entry} (section ${section})`).join(", ");
  const message = `section name ${name} fits several programs: ${list}; name the function instead`;
  return { reason: "SectionAmbiguous", message };
}
