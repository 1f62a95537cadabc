import { decodeUtf8 } from "@bpfleet/base";
import { BtfError } from "./btf-error.ts";
import { btfKinds, type BtfMember, type BtfType } from "./btf-type.ts";

const magic = 0xeb9f;
const headerSize = 24;
const empty = { size: 0, type: 0, members: [], count: 0, isSigned: false };

export interface RawTypes {
  /** Without void. */
  readonly types: readonly BtfType[];
  readonly isLittleEndian: boolean;
  /** Bytes of the section of names. */
  readonly nameBytes: number;
  nameAt(offset: number): string;
}

/** What lies before a split BTF: its names go on where those of the base end. */
export interface BaseNames {
  readonly nameBytes: number;
  nameAt(offset: number): string;
}

/** The types in the order of their ids; whether ids lead anywhere is not looked at. */
export function readTypes(btf: Uint8Array, base: BaseNames | undefined): RawTypes {
  if (btf.length < headerSize) throw malformed("it is shorter than its header");
  const view = new DataView(btf.buffer, btf.byteOffset, btf.byteLength);
  const isLittleEndian = view.getUint16(0, true) === magic;
  if (!isLittleEndian && view.getUint16(0) !== magic) throw malformed("the magic number differs");
  if (view.getUint8(2) !== 1) throw malformed(`version ${view.getUint8(2)}, known is 1`);
  const word = (at: number) => view.getUint32(at, isLittleEndian);
  const header = word(4);
  const types = section(btf, header + word(8), word(12), "types");
  const names = section(btf, header + word(16), word(20), "names");
  const nameAt = nameReader(names, base);
  return {
    types: new TypeReader(types, isLittleEndian, nameAt).read(),
    isLittleEndian,
    nameBytes: names.length + (base?.nameBytes ?? 0),
    nameAt,
  };
}

function section(btf: Uint8Array, from: number, size: number, what: string): Uint8Array {
  if (from < headerSize || from + size > btf.length) throw malformed(`its ${what} lie outside`);
  return btf.subarray(from, from + size);
}

function nameReader(names: Uint8Array, base: BaseNames | undefined): (offset: number) => string {
  const known = new Map<number, string>([[0, ""]]);
  const start = base?.nameBytes ?? 0;
  return (offset) => {
    let name = known.get(offset);
    if (name !== undefined) return name;
    if (base !== undefined && offset < start) return base.nameAt(offset);
    const from = offset - start;
    const end = from < names.length ? names.indexOf(0, from) : -1;
    if (end < 0) throw malformed(`there is no name at ${offset}`);
    name = decodeUtf8(names.subarray(from, end));
    known.set(offset, name);
    return name;
  };
}

class TypeReader {
  readonly #view: DataView;
  readonly #isLittleEndian: boolean;
  readonly #nameAt: (offset: number) => string;
  #at = 0;

  constructor(bytes: Uint8Array, isLittleEndian: boolean, nameAt: (offset: number) => string) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#isLittleEndian = isLittleEndian;
    this.#nameAt = nameAt;
  }

  read(): BtfType[] {
    const types: BtfType[] = [];
    while (this.#at < this.#view.byteLength) types.push(this.#type());
    return types;
  }

  #word(): number {
    if (this.#at + 4 > this.#view.byteLength) throw malformed("a type is cut short");
    const word = this.#view.getUint32(this.#at, this.#isLittleEndian);
    this.#at += 4;
    return word;
  }

  #name(): string {
    return this.#nameAt(this.#word());
  }

  #list(count: number, read: () => BtfMember): BtfMember[] {
    return Array.from({ length: count }, read);
  }

  #type(): BtfType {
    const name = this.#name();
    const info = this.#word();
    const sizeOrType = this.#word();
    const kind = btfKinds[(info >>> 24) & 31];
    const count = info & 0xffff;
    const flag = info >>> 31 === 1;
    if (kind === undefined || kind === "void") throw malformed(`kind ${(info >>> 24) & 31} is not known`);
    const sized = { ...empty, kind, name, size: sizeOrType };
    const leading = { ...empty, kind, name, type: sizeOrType };
    switch (kind) {
      case "int":
        return this.#int(sized);
      case "array": {
        const [type, , elements] = [this.#word(), this.#word(), this.#word()];
        return { ...empty, kind, name, type, count: elements };
      }
      case "struct":
      case "union":
        return { ...sized, members: this.#list(count, () => this.#field(flag)) };
      case "enum":
        return { ...sized, isSigned: flag, members: this.#list(count, () => this.#enumerator(flag)) };
      case "enum64":
        return { ...sized, isSigned: flag, members: this.#list(count, () => this.#enumerator64(flag)) };
      case "section":
        return {
          ...sized,
          members: this.#list(count, () => {
            const [type, offset] = [this.#word(), this.#word(), this.#word()];
            return { name: "", type, offset };
          }),
        };
      case "prototype":
        return {
          ...leading,
          members: this.#list(count, () => ({ name: this.#name(), type: this.#word(), offset: 0 })),
        };
      case "variable":
        this.#word();
        return leading;
      case "decl-tag":
        return { ...leading, component: this.#word() | 0 };
      case "float":
        return sized;
      case "forward":
        return { ...empty, kind, name, isUnion: flag };
      default:
        return leading;
    }
  }

  #int(sized: BtfType): BtfType {
    const info = this.#word();
    const encoding = (info >>> 24) & 15;
    const [count, offset] = [info & 0xff, (info >>> 16) & 0xff];
    if (sized.size > 16 || offset + count > sized.size * 8) throw malformed(`int ${sized.name} does not fit its bytes`);
    return {
      ...sized,
      isSigned: (encoding & 1) !== 0,
      ...((encoding & 6) !== 0 && { meaning: (encoding & 4) === 0 ? "char" : "bool" }),
      ...((offset !== 0 || count !== sized.size * 8) && { bits: { count, offset } }),
    };
  }

  #field(hasBits: boolean): BtfMember {
    const [name, type, offset] = [this.#name(), this.#word(), this.#word()];
    if (!hasBits) return { name, type, offset };
    const bits = offset >>> 24;
    return { name, type, offset: offset & 0xffffff, ...(bits !== 0 && { bits }) };
  }

  #enumerator(isSigned: boolean): BtfMember {
    const [name, value] = [this.#name(), this.#word()];
    return { name, type: 0, offset: 0, value: BigInt(isSigned ? value | 0 : value) };
  }

  #enumerator64(isSigned: boolean): BtfMember {
    const [name, low, high] = [this.#name(), this.#word(), this.#word()];
    const value = (BigInt(high) << 32n) | BigInt(low);
    return { name, type: 0, offset: 0, value: isSigned ? BigInt.asIntN(64, value) : value };
  }
}

export function malformed(what: string): BtfError {
  return new BtfError("malformed", `read BTF: ${what}`);
}
