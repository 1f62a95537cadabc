import { createHash } from "node:crypto";
import type { BtfMember, BtfType } from "@bpfleet/btf";
import type { BpfObjectFacts } from "./btf.ts";

/** Declared in bpf/include and used by several features. */
const shared = {
  maps: ["events", "explained", "hits", "lost_events", "reasons", "trace"],
  structs: ["counter", "event", "explained", "rule_base", "trace_switch"],
  enums: ["event_layer", "explained_flag", "fault", "lost_event", "sample", "verdict"],
};

const programTypes: readonly (readonly [section: RegExp, type: string])[] = [
  [/^xdp/, "xdp"],
  [/^(tc|tcx\/|classifier)/, "sched_cls"],
  [/^cgroup_skb/, "cgroup_skb"],
  [/^cgroup\/dev/, "cgroup_device"],
  [/^cgroup\/sock/, "cgroup_sock"],
  [/^cgroup\/(connect|bind|sendmsg|recvmsg)/, "cgroup_sock_addr"],
  [/^sockops/, "sock_ops"],
  [/^raw_tp/, "raw_tracepoint"],
  [/^tp\//, "tracepoint"],
];

/** BPF_MAP_TYPE_* in order; only those that specs.ts knows. */
const mapTypes: Readonly<Record<number, string>> = {
  1: "hash",
  2: "array",
  3: "prog_array",
  4: "perf_event_array",
  5: "percpu_hash",
  6: "percpu_array",
  8: "cgroup_array",
  9: "lru_hash",
  10: "lru_percpu_hash",
  11: "lpm_trie",
  12: "array_of_maps",
  13: "hash_of_maps",
  14: "devmap",
  15: "sockmap",
  18: "sockhash",
  22: "queue",
  23: "stack",
  27: "ringbuf",
};

export interface Rendered {
  readonly name: string;
  readonly text: string;
  readonly isShared: boolean;
}

export function renderAll(feature: string, facts: BpfObjectFacts): Rendered[] {
  const types = new Types(facts.types);
  const maps = types.section(".maps").map((variable) => ({ name: variable.name, type: types.resolve(variable.type) }));
  const roots = [
    ...maps.flatMap((map) => ["key", "value"].map((part) => types.mapPart(map.type, part))),
    ...types.section("types").map((variable) => types.resolve(types.resolve(variable.type).type)),
  ].filter((type) => type !== undefined);
  const structs = new Map<string, BtfType>();
  for (const type of roots) types.collect(type, structs);
  const enums = roots.filter((type) => type.kind === "enum");
  const own = <T extends { readonly name: string }>(all: readonly T[], names: readonly string[]): T[] =>
    all.filter(({ name }) => !names.includes(name)).toSorted(byName);
  const both = <T extends { readonly name: string }>(
    all: readonly T[],
    names: readonly string[],
    render: (item: T) => string,
  ): Rendered[] =>
    all.toSorted(byName).map((item) => ({ name: item.name, text: render(item), isShared: names.includes(item.name) }));
  return [
    { name: "maps", text: renderMaps(`${feature}Maps`, own(maps, shared.maps), types), isShared: false },
    ...both(maps, shared.maps, (map) => renderMaps(`${camel(map.name)}Map`, [map], types))
      .filter((map) => map.isShared)
      .map((map) => ({ ...map, name: `map ${map.name}` })),
    { name: "programs", text: renderPrograms(feature, facts.programs), isShared: false },
    ...[renderGlobals(feature, types)]
      .filter((text) => text !== "")
      .map((text) => ({ name: "globals", text, isShared: false })),
    ...both(enums, shared.enums, renderEnum),
    ...both([...structs.values()], shared.structs, (struct) => renderStruct(struct, types)),
  ];
}

/** Another one where what is agreed on is: in a map, an entry of it, an enum, a variable, a program. */
export function layoutOf(feature: string, facts: BpfObjectFacts): string {
  const texts = renderAll(feature, facts).map(({ name, text }) => `${name}\n${text}`);
  return createHash("sha256").update(texts.join("\n")).digest("hex").slice(0, 16);
}

/** The types of one object. */
class Types {
  readonly #types: readonly BtfType[];

  constructor(types: readonly BtfType[]) {
    this.#types = types;
  }

  at(id: number): BtfType {
    const type = this.#types[id];
    if (type === undefined) throw new TypeError(`read BTF: there is no type ${id}`);
    return type;
  }

  /** Without typedefs and qualifiers. */
  resolve(id: number): BtfType {
    const type = this.at(id);
    return ["typedef", "const", "volatile", "restrict", "type-tag"].includes(type.kind)
      ? this.resolve(type.type)
      : type;
  }

  isBigEndian(id: number): boolean {
    const type = this.at(id);
    if (type.kind === "typedef") return type.name.startsWith("__be") || this.isBigEndian(type.type);
    return ["const", "volatile"].includes(type.kind) && this.isBigEndian(type.type);
  }

  section(name: string): BtfType[] {
    const section = this.#types.find((type) => type.kind === "section" && type.name === name);
    return (section?.members ?? []).map((member) => this.at(member.type));
  }

  /** `__type(key, T)` is a member that points to T. */
  mapPart(map: BtfType, name: string): BtfType | undefined {
    const member = map.members.find((each) => each.name === name);
    return member && this.resolve(this.resolve(member.type).type);
  }

  /** `__uint(max_entries, N)` is a member that points to an array of N. */
  mapNumber(map: BtfType, name: string): number {
    const member = map.members.find((each) => each.name === name);
    return member === undefined ? 0 : this.resolve(this.resolve(member.type).type).count;
  }

  sizeOf(type: BtfType): number {
    if (type.kind === "array") return type.count * this.sizeOf(this.resolve(type.type));
    return type.kind === "pointer" ? 8 : type.size;
  }

  /** Structs that `type` is made of. */
  collect(type: BtfType, into: Map<string, BtfType>): void {
    if (type.kind === "array") this.collect(this.resolve(type.type), into);
    if (type.kind !== "struct") return;
    into.set(type.name, type);
    for (const member of type.members) this.collect(this.resolve(member.type), into);
  }
}

function renderMaps(
  name: string,
  maps: readonly { readonly name: string; readonly type: BtfType }[],
  types: Types,
): string {
  const definitions = maps.map((map) => {
    const size = (part: string): number => {
      const type = types.mapPart(map.type, part);
      return type === undefined ? types.mapNumber(map.type, `${part}_size`) : types.sizeOf(type);
    };
    const type = mapTypes[types.mapNumber(map.type, "type")];
    if (type === undefined) throw new TypeError(`generate codecs: map ${map.name} has a type without a name`);
    const numbers = [
      `keySize: ${size("key")}`,
      `valueSize: ${size("value")}`,
      `maxEntries: ${types.mapNumber(map.type, "max_entries")}`,
      `flags: ${types.mapNumber(map.type, "map_flags")}`,
    ];
    return { name: map.name, text: `{ type: "${type}", ${numbers.join(", ")} }` };
  });
  if (name.endsWith("Maps")) {
    const lines = definitions.map((map) => `  ${map.name}: ${map.text},\n`).join("");
    return `export const ${name} = {\n${lines}} as const satisfies Record<string, MapDefinition>;\n`;
  }
  return definitions.map((map) => `export const ${name} = ${map.text} as const satisfies MapDefinition;\n`).join("");
}

function renderPrograms(feature: string, programs: ReadonlyMap<string, string>): string {
  const lines = [...programs]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, section]) => {
      const type = programTypes.find(([pattern]) => pattern.test(section))?.[1];
      if (type === undefined)
        throw new TypeError(`generate codecs: section ${section} of ${name} says no program type`);
      return `  ${name}: "${type}",\n`;
    });
  return `/** Entries of the object. */\nexport const ${feature}Programs = {\n${lines.join("")}} as const satisfies Record<string, ProgramType>;\n`;
}

function renderGlobals(feature: string, types: Types): string {
  const variables = types.section(".rodata").filter((variable) => types.at(variable.type).kind === "const");
  const knobs = variables.filter((variable) => types.at(types.at(variable.type).type).kind === "volatile");
  const lines = knobs
    .toSorted(byName)
    .map((variable) => `  readonly ${variable.name}: ${scalarType(types.resolve(variable.type))};\n`);
  const name = `${pascal(feature)}Globals`;
  if (lines.length === 0) return "";
  return `/** Variables that are set before load; 0 and false when they are not. */\nexport interface ${name} {\n${lines.join("")}}\n`;
}

function scalarType(type: BtfType): string {
  if (type.kind === "int") return type.meaning === "bool" ? "boolean" : type.size === 8 ? "bigint" : "number";
  if (type.kind === "enum") return "number";
  throw new TypeError(`generate codecs: a ${type.kind} cannot be set before load`);
}

function renderEnum(type: BtfType): string {
  const prefix = commonPrefix(type.members.map((member) => member.name));
  const lines = type.members
    .toSorted((a, b) => Number((a.value ?? 0n) - (b.value ?? 0n)))
    .map((member) => `  ${member.name.slice(prefix.length).toLowerCase()}: ${member.value},\n`);
  return `export const ${camel(type.name)} = {\n${lines.join("")}} as const;\n`;
}

/** Up to and with the last underscore that all names share. */
function commonPrefix(names: readonly string[]): string {
  let prefix = names[0] ?? "";
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return prefix.slice(0, prefix.lastIndexOf("_") + 1);
}

function renderStruct(struct: BtfType, types: Types): string {
  const name = pascal(struct.name);
  const fields = struct.members.map((member) => renderField(member, types));
  return [
    `export interface ${name} {`,
    ...fields.map((field) => `  readonly ${field.name}: ${field.type};`),
    "}",
    `export const ${camel(struct.name)}Size = ${struct.size};`,
    `export function decode${name}(view: DataView, at = 0): ${name} {`,
    "  return {",
    ...fields.map((field) => `    ${field.name}: ${field.decode(`at + ${field.offset}`)},`),
    "  };",
    "}",
    `export function encode${name}(value: ${name}, view: DataView, at = 0): void {`,
    ...fields.map((field) => `  ${field.encode(`value.${field.name}`, `at + ${field.offset}`)}`),
    "}",
    "",
  ].join("\n");
}

interface Field {
  readonly name: string;
  readonly type: string;
  readonly offset: number;
  decode(at: string): string;
  encode(value: string, at: string): string;
}

function renderField(member: BtfMember, types: Types): Field {
  return { name: camel(member.name), offset: member.offset / 8, ...codecOf(member.type, types) };
}

function codecOf(id: number, types: Types): Pick<Field, "type" | "decode" | "encode"> {
  const type = types.resolve(id);
  if (type.kind === "struct") {
    const name = pascal(type.name);
    return {
      type: name,
      decode: (at) => `decode${name}(view, ${at})`,
      encode: (value, at) => `encode${name}(${value}, view, ${at});`,
    };
  }
  if (type.kind === "array") {
    const element = types.resolve(type.type);
    const size = types.sizeOf(element);
    if (element.kind === "int" && size === 1) {
      return {
        type: "Uint8Array",
        decode: (at) => `new Uint8Array(view.buffer, view.byteOffset + ${at}, ${type.count}).slice()`,
        encode: (value, at) => `new Uint8Array(view.buffer, view.byteOffset + ${at}, ${type.count}).set(${value});`,
      };
    }
    const inner = codecOf(type.type, types);
    return {
      type: `readonly ${inner.type}[]`,
      decode: (at) => `Array.from({ length: ${type.count} }, (_, index) => ${inner.decode(`${at} + index * ${size}`)})`,
      encode: (value, at) =>
        `for (const [index, item] of ${value}.entries()) ${inner.encode("item", `${at} + index * ${size}`)}`,
    };
  }
  const scalar = scalarType(type);
  const method = `${scalar === "bigint" ? "BigUint" : "Uint"}${type.size * 8}`;
  const order = type.size === 1 ? "" : `, ${!types.isBigEndian(id)}`;
  return {
    type: scalar,
    decode: (at) => `view.get${method}(${at}${order})`,
    encode: (value, at) => `view.set${method}(${at}, ${value}${order});`,
  };
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

function camel(name: string): string {
  return name.replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function pascal(name: string): string {
  return camel(name).replace(/^[a-z]/, (letter) => letter.toUpperCase());
}
