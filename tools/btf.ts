/** Reads what a BPF object says of itself: its BTF (https://docs.kernel.org/bpf/btf.html) and its programs. */

/** A type; `type` and `members[].type` are ids into Btf.types, 0 is void. */
export interface BtfType {
  readonly kind: BtfKind;
  readonly name: string;
  /** Bytes, of int, enum, struct, union, float and section. */
  readonly size: number;
  /** What pointers, typedefs, qualifiers, variables, arrays and functions lead to. */
  readonly type: number;
  readonly members: readonly BtfMember[];
  /** Elements of an array. */
  readonly count: number;
  /** Of an int: 1 signed, 2 char, 4 bool. */
  readonly encoding: number;
}

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** Bits from the start for fields; bytes for variables of a section; the value of an enumerator. */
  readonly offset: number;
}

const kinds = [
  "void",
  "int",
  "pointer",
  "array",
  "struct",
  "union",
  "enum",
  "forward",
  "typedef",
  "volatile",
  "const",
  "restrict",
  "function",
  "prototype",
  "variable",
  "section",
  "float",
  "decl-tag",
  "type-tag",
  "enum64",
] as const;
export type BtfKind = (typeof kinds)[number];

export interface BpfObjectFacts {
  readonly types: readonly BtfType[];
  /** Name of an entry → name of its ELF section. */
  readonly programs: ReadonlyMap<string, string>;
}

const headerSize = 24;
const typeSize = 12;
const emptyType = { size: 0, type: 0, members: [], count: 0, encoding: 0 };

export function parseObject(elf: Uint8Array): BpfObjectFacts {
  const sections = parseElf(elf);
  const btf = sections.find((section) => section.name === ".BTF");
  if (btf === undefined) throw new TypeError("read BTF: the object has none; compile it with -g");
  return { types: parseBtf(btf.bytes), programs: parsePrograms(sections) };
}

interface Section {
  readonly name: string;
  readonly kind: number;
  readonly flags: number;
  readonly link: number;
  readonly bytes: Uint8Array;
}

/** ELF64, little endian. */
function parseElf(elf: Uint8Array): Section[] {
  const view = viewOf(elf);
  if (view.getUint32(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1)
    throw new TypeError("read ELF: not a 64-bit little-endian object");
  const table = Number(view.getBigUint64(40, true));
  const count = view.getUint16(60, true);
  const headers = Array.from({ length: count }, (_, at) => {
    const header = table + at * view.getUint16(58, true);
    const from = Number(view.getBigUint64(header + 24, true));
    const kind = view.getUint32(header + 4, true);
    const size = kind === 8 ? 0 : Number(view.getBigUint64(header + 32, true));
    return {
      nameAt: view.getUint32(header, true),
      kind,
      flags: Number(view.getBigUint64(header + 8, true)),
      link: view.getUint32(header + 40, true),
      bytes: elf.subarray(from, from + size),
    };
  });
  const names = headers[view.getUint16(62, true)]?.bytes ?? new Uint8Array();
  return headers.map(({ nameAt, ...rest }) => ({ name: textAt(names, nameAt), ...rest }));
}

/** Global functions in sections of code. */
function parsePrograms(sections: readonly Section[]): ReadonlyMap<string, string> {
  const programs = new Map<string, string>();
  const symbols = sections.find((section) => section.kind === 2);
  if (symbols === undefined) return programs;
  const names = sections[symbols.link]?.bytes ?? new Uint8Array();
  const view = viewOf(symbols.bytes);
  for (let at = 0; at < symbols.bytes.length; at += 24) {
    const isGlobalFunction = view.getUint8(at + 4) === 0x12;
    const section = sections[view.getUint16(at + 6, true)];
    if (isGlobalFunction && section !== undefined && section.name !== ".text") {
      programs.set(textAt(names, view.getUint32(at, true)), section.name);
    }
  }
  return programs;
}

function parseBtf(btf: Uint8Array): BtfType[] {
  const view = viewOf(btf);
  if (view.getUint16(0, true) !== 0xeb9f) throw new TypeError("read BTF: the magic number differs");
  const header = view.getUint32(4, true);
  const from = header + view.getUint32(8, true);
  const end = from + view.getUint32(12, true);
  const names = btf.subarray(header + view.getUint32(16, true));
  const types: BtfType[] = [{ kind: "void", name: "", ...emptyType }];
  if (header < headerSize) throw new TypeError("read BTF: its header is cut short");
  for (let at = from; at < end;) {
    const [type, size] = parseType(view, at, names);
    types.push(type);
    at += size;
  }
  return types;
}

/** One type and the bytes that it takes. */
function parseType(view: DataView, at: number, names: Uint8Array): [BtfType, number] {
  const info = view.getUint32(at + 4, true);
  const kind = kinds[(info >>> 24) & 31] ?? "void";
  const count = info & 0xffff;
  const sizeOrType = view.getUint32(at + 8, true);
  const base = { ...emptyType, kind, name: textAt(names, view.getUint32(at, true)) };
  const more = at + typeSize;
  const word = (offset: number): number => view.getUint32(more + offset, true);
  const list = (size: number, read: (offset: number) => BtfMember): BtfMember[] =>
    Array.from({ length: count }, (_, index) => read(index * size));
  switch (kind) {
    case "int":
      return [{ ...base, size: sizeOrType, encoding: (word(0) >>> 24) & 15 }, typeSize + 4];
    case "array":
      return [{ ...base, type: word(0), count: word(8) }, typeSize + 12];
    case "struct":
    case "union": {
      const members = list(12, (offset) => ({
        name: textAt(names, word(offset)),
        type: word(offset + 4),
        offset: info >>> 31 ? word(offset + 8) & 0xffffff : word(offset + 8),
      }));
      return [{ ...base, size: sizeOrType, members }, typeSize + 12 * count];
    }
    case "enum": {
      const members = list(8, (offset) => ({
        name: textAt(names, word(offset)),
        type: 0,
        offset: view.getInt32(more + offset + 4, true),
      }));
      return [{ ...base, size: sizeOrType, members }, typeSize + 8 * count];
    }
    case "enum64":
      return [{ ...base, size: sizeOrType }, typeSize + 12 * count];
    case "section": {
      const members = list(12, (offset) => ({ name: "", type: word(offset), offset: word(offset + 4) }));
      return [{ ...base, size: sizeOrType, members }, typeSize + 12 * count];
    }
    case "prototype":
      return [{ ...base, type: sizeOrType }, typeSize + 8 * count];
    case "variable":
    case "decl-tag":
      return [{ ...base, type: sizeOrType }, typeSize + 4];
    case "float":
      return [{ ...base, size: sizeOrType }, typeSize];
    default:
      return [{ ...base, type: sizeOrType }, typeSize];
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function textAt(bytes: Uint8Array, at: number): string {
  return new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)));
}
