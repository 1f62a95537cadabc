/** Reads what a BPF object says of itself: its BTF and its programs. */
import { Btf, type BtfType } from "@bpfleet/btf";

export interface BpfObjectFacts {
  readonly types: readonly BtfType[];
  /** Name of an entry → name of its ELF section. */
  readonly programs: ReadonlyMap<string, string>;
}

export function parseObject(elf: Uint8Array): BpfObjectFacts {
  const sections = parseElf(elf);
  const btf = sections.find((section) => section.name === ".BTF");
  if (btf === undefined) throw new TypeError("read BTF: the object has none; compile it with -g");
  const types = Btf.parse(btf.bytes);
  return { types: [types.get(0), ...[...types.types()].map(([, type]) => type)], programs: parsePrograms(sections) };
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

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function textAt(bytes: Uint8Array, at: number): string {
  return new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)));
}
