import { Btf, BtfError } from "@bpfleet/btf";
import { BpfError, openElf, type BpfObject } from "@bpfleet/native";
import { helperOf, mapTypes, programTypes } from "./oldest-kernels.ts";

export interface ObjectFeature {
  readonly kind: "program type" | "map type" | "helper" | "kernel function" | "other";
  readonly name: string;
  /** The oldest Linux that has it; `undefined` where that is not known. */
  readonly since?: string | undefined;
  /** Programs and maps that ask for it. */
  readonly usedBy: readonly string[];
}

const [call, insnSize, withCode] = [0x85, 8, 1];

/** What an object asks of a kernel, read from the object alone. */
export function readFeatures(elf: Uint8Array, object: BpfObject, typeOf: (program: string) => string): ObjectFeature[] {
  const features = new FeatureList();
  for (const { name } of object.programs) features.add("program type", typeOf(name), programTypes[typeOf(name)], name);
  for (const { name, type, isInternal } of object.maps) {
    if (isInternal) features.add("other", "global variables", "5.2", name);
    else features.add("map type", type, mapTypes[type], name);
  }
  for (const { name, section } of object.programs) {
    if (section.startsWith("xdp.frags")) features.add("other", "XDP over several buffers", "5.18", name);
    if (/^[a-z_]+\.s\//.test(section)) features.add("other", "sleepable programs", "5.10", name);
  }
  readSections(elf, features);
  for (const name of kernelFunctions(object)) features.add("kernel function", name, undefined, "");
  return features.all();
}

class FeatureList {
  readonly #features = new Map<
    string,
    { kind: ObjectFeature["kind"]; name: string; since: string | undefined; usedBy: Set<string> }
  >();

  add(kind: ObjectFeature["kind"], name: string, since: string | undefined, user: string): void {
    const key = `${kind} ${name}`;
    const feature = this.#features.get(key) ?? { kind, name, since, usedBy: new Set() };
    if (user !== "") feature.usedBy.add(user);
    this.#features.set(key, feature);
  }

  all(): ObjectFeature[] {
    return [...this.#features.values()].map((feature) => ({ ...feature, usedBy: [...feature.usedBy] }));
  }
}

/** Helpers by the calls in the sections of code; relocations by their table. */
function readSections(elf: Uint8Array, features: FeatureList): void {
  const file = openElf(elf);
  if (file === undefined) return;
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const functions = file.symbols().filter(({ isFunction }) => isFunction);
  for (const [index, { name, type, offset, size }] of file.sections.entries()) {
    if (name === ".BTF") features.add("other", "type information (BTF)", "4.18", "");
    if (name === ".BTF.ext") {
      const count = countRelocations(view, offset, size);
      if (count > 0) features.add("other", `CO-RE (${count} relocations), with BTF of the kernel`, "5.4", "");
    }
    const here = functions.filter(({ section }) => section === index);
    if (type !== withCode || here.length === 0) continue;
    if (name === ".text") features.add("other", "functions of its own", "4.16", "");
    for (let at = 0; at + insnSize <= size && offset + at + insnSize <= view.byteLength; at += insnSize) {
      const source = view.getUint8(offset + at + 1) >> 4;
      if (view.getUint8(offset + at) !== call || source !== 0) continue;
      const { name: helper, since } = helperOf(view.getInt32(offset + at + 4, true));
      const user = here.find(({ value, size: length }) => at >= value && at < value + length);
      features.add("helper", helper, since, user?.name ?? name);
    }
  }
}

/** struct btf_ext_header, then per section {name, count, records} after the size of a record. */
function countRelocations(view: DataView, offset: number, size: number): number {
  const end = Math.min(offset + size, view.byteLength);
  const word = (at: number): number => (at + 4 <= end ? view.getUint32(at, true) : 0);
  const header = word(offset + 4);
  if (header < 32) return 0;
  let at = offset + header + word(offset + 24);
  const stop = Math.min(at + word(offset + 28), end);
  const record = word(at);
  at += 4;
  let count = 0;
  if (record === 0) return 0;
  while (at + 8 <= stop) {
    const here = word(at + 4);
    count += here;
    at += 8 + here * record;
  }
  return count;
}

/** Functions of the kernel that the object declares in `.ksyms`. */
function kernelFunctions(object: BpfObject): string[] {
  try {
    const btf = Btf.parse(object.btf());
    const section = btf.find(".ksyms", "section");
    if (section === undefined) return [];
    return btf
      .get(section)
      .members.flatMap(({ type }) => (btf.get(type).kind === "function" ? [btf.get(type).name] : []));
  } catch (error) {
    if (error instanceof BtfError || error instanceof BpfError) return [];
    throw error;
  }
}
