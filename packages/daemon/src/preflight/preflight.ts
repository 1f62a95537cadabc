import { errorText } from "@bpfleet/base";
import { BpfError, BpfObject, openElf, type OpenOptions } from "@bpfleet/native";
import { explainRefusal, type Refusal } from "./explain-refusal.ts";
import { readFeatures, type ObjectFeature } from "./object-features.ts";
import { youngest } from "./oldest-kernels.ts";

export interface PreflightOptions {
  /** Names the object in errors. */
  readonly name: string;
  /** Only this program, by its function or section. */
  readonly program?: string | undefined;
  /** Files with the BTF of further kernels. */
  readonly kernelBtfs?: readonly string[] | undefined;
}

/** Whether an object loads on this node, why not, and what it asks of any kernel. */
export interface PreflightReport {
  readonly loads: boolean;
  readonly license: string;
  readonly programs: readonly CheckedProgram[];
  readonly features: readonly ObjectFeature[];
  /** The oldest Linux that has every feature whose age is known. */
  readonly since?: string | undefined;
  /** Why it cannot even be read. */
  readonly trouble?: string | undefined;
  readonly kernels: readonly CheckedKernel[];
}

export interface CheckedProgram {
  readonly name: string;
  readonly section: string;
  readonly type: string;
  readonly attachType?: string | undefined;
  readonly instructions: number;
  readonly loads: boolean;
  /** What the kernel or the library said. */
  readonly why?: string | undefined;
  readonly refusal?: Refusal | undefined;
  /** The verifier's whole log. */
  readonly log?: string | undefined;
}

/** Relocations of the programs against the types of another kernel. */
export interface CheckedKernel {
  readonly file: string;
  readonly programs: readonly {
    readonly name: string;
    /** Instructions for what that kernel does not have; harmless where the program asks before. */
    readonly missing: number;
    readonly why?: string | undefined;
  }[];
}

/** What libbpf leaves in place of an instruction whose relocation found nothing. */
const poison = 195_896_080;

/** Loads every program for a moment; nothing is attached, pinned or kept. Needs the right to load programs. */
export async function preflight(elf: Uint8Array, options: PreflightOptions): Promise<PreflightReport> {
  const { name, kernelBtfs = [] } = options;
  const nothing = { loads: false, license: "", programs: [], features: [], kernels: [] };
  if (openElf(elf)?.sections.some((section) => section.name === "maps") === true) {
    const trouble =
      'it defines maps by SEC("maps"), which libbpf 1.0 and later refuse; write them as struct { __uint(type, …); … } name SEC(".maps") and compile with clang -g';
    return { ...nothing, trouble };
  }
  let object: BpfObject;
  try {
    object = BpfObject.open(elf, { name });
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    return { ...nothing, trouble: errorText(error) };
  }
  await using opened = object;
  const types = new Map(opened.programs.map((program) => [program.name, typeOf(program.section, program.type)]));
  const wanted = opened.programs.filter(({ name: each, section }) => {
    return options.program === undefined || [each, section, section.replace(/^[^/]*\//, "")].includes(options.program);
  });
  if (wanted.length === 0) {
    const names = opened.programs.map(({ name: each }) => each).join(", ") || "none";
    return { ...nothing, trouble: `there is no program ${options.program ?? ""}; it has ${names}` };
  }
  const features = readFeatures(elf, opened, (program) => types.get(program) ?? "unspec");
  const programs: CheckedProgram[] = [];
  for (const { name: each, section, type: said, expectedAttachType, instructionCount } of wanted) {
    const type = types.get(each) ?? said;
    const facts = { name: each, section, type, attachType: expectedAttachType, instructions: instructionCount };
    programs.push({ ...facts, ...(await dryLoad(elf, openOptions(name, each, said, type))) });
  }
  const kernels: CheckedKernel[] = [];
  for (const file of kernelBtfs) {
    const checked: CheckedKernel["programs"][number][] = [];
    for (const { name: each, type: said } of wanted)
      checked.push({
        name: each,
        ...(await relocate(elf, each, { ...openOptions(name, each, said, types.get(each) ?? said), kernelBtf: file })),
      });
    kernels.push({ file, programs: checked });
  }
  const ages = features.flatMap(({ since }) => (since === undefined ? [] : [since]));
  const loads = programs.every((program) => program.loads);
  const since = ages.length === 0 ? undefined : ages.reduce(youngest);
  return { loads, license: opened.license, programs, features, since, kernels };
}

function openOptions(name: string, program: string, said: string, type: string): OpenOptions {
  return { name, autoload: [program], ...(said !== type && { programTypes: { [program]: { type } } }) };
}

async function dryLoad(
  elf: Uint8Array,
  options: OpenOptions,
): Promise<Pick<CheckedProgram, "loads" | "why" | "refusal" | "log">> {
  try {
    await using object = BpfObject.open(elf, options);
    await object.load();
    return { loads: true };
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    if (error.code !== "verifier") return { loads: false, why: errorText(error) };
    return { loads: false, why: errorText(error), refusal: explainRefusal(error.verifierLog), log: error.verifierLog };
  }
}

async function relocate(
  elf: Uint8Array,
  program: string,
  options: OpenOptions,
): Promise<{ missing: number; why?: string }> {
  try {
    await using object = BpfObject.open(elf, options);
    await object.prepare();
    const { insns } = object.instructions(program);
    let missing = 0;
    for (let at = 0; at + 8 <= insns.length; at += 8)
      if (insns[at] === 0x85 && insns.readInt32LE(at + 4) === poison) missing++;
    return { missing };
  } catch (error) {
    if (error instanceof BpfError) return { missing: 0, why: errorText(error) };
    throw error;
  }
}

const bySection: readonly (readonly [RegExp, string])[] = [
  [/^xdp(?:\.frags)?(?:\/|$)/, "xdp"],
  [/^(?:tc|tcx|classifier|action)(?:\/|$)/, "sched_cls"],
  [/^(?:tracepoint|tp)\//, "tracepoint"],
];

/** Sections such as `xdp/pass` say a type to people that libbpf does not read. */
function typeOf(section: string, type: string): string {
  return type === "unspec" ? (bySection.find(([form]) => form.test(section))?.[1] ?? type) : type;
}
