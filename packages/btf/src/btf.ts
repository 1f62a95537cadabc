import { BtfError } from "./btf-error.ts";
import type { BtfKind, BtfType } from "./btf-type.ts";
import { malformed, readTypes, type RawTypes } from "./read-types.ts";
import { deepest } from "./walk.ts";

const voidType: BtfType = { kind: "void", name: "", size: 0, type: 0, members: [], count: 0, isSigned: false };
const transparent: ReadonlySet<BtfKind> = new Set(["typedef", "volatile", "const", "restrict", "type-tag", "decl-tag"]);

/** The types of an object, of the kernel, or of a module of it. */
export class Btf {
  readonly isLittleEndian: boolean;
  readonly pointerSize = 8;
  readonly #base: Btf | undefined;
  readonly #raw: RawTypes;
  readonly #firstId: number;
  #ids: ReadonlyMap<string, readonly number[]> | undefined;

  private constructor(raw: RawTypes, base: Btf | undefined) {
    this.#raw = raw;
    this.#base = base;
    this.isLittleEndian = raw.isLittleEndian;
    this.#firstId = base?.count ?? 1;
  }

  /** Of a module's BTF, `base` is the kernel's. Throws BtfError for anything that is not BTF through and through. */
  static parse(bytes: Uint8Array, base?: Btf): Btf {
    const btf = new Btf(readTypes(bytes, base === undefined ? undefined : base.#raw), base);
    if (base !== undefined && base.isLittleEndian !== btf.isLittleEndian)
      throw malformed("its base has another byte order");
    btf.#checkIds();
    return btf;
  }

  /** Ids are below this; 0 is void. */
  get count(): number {
    return this.#firstId + this.#raw.types.length;
  }

  get(id: number): BtfType {
    if (id === 0) return voidType;
    if (id < this.#firstId && this.#base !== undefined) return this.#base.get(id);
    const type = this.#raw.types[id - this.#firstId];
    if (type === undefined) throw new BtfError("not-found", `find type ${id}: the last one is ${this.count - 1}`);
    return type;
  }

  /** Types of this BTF and its base. */
  *types(): Generator<readonly [id: number, type: BtfType]> {
    for (let id = 1; id < this.count; id++) yield [id, this.get(id)];
  }

  /** The first type of that name and, when given, of one of these kinds. */
  find(name: string, ...kinds: readonly BtfKind[]): number | undefined {
    this.#ids ??= this.#indexNames();
    const own = this.#ids.get(name)?.find((id) => kinds.length === 0 || kinds.includes(this.get(id).kind));
    return this.#base?.find(name, ...kinds) ?? own;
  }

  /** Behind typedefs, qualifiers and tags. */
  resolve(id: number): number {
    let at = id;
    for (let depth = 0; depth < deepest; depth++) {
      const type = this.get(at);
      if (!transparent.has(type.kind)) return at;
      at = type.type;
    }
    throw malformed(`type ${id} leads nowhere`);
  }

  resolved(id: number): BtfType {
    return this.get(this.resolve(id));
  }

  /** Names of the typedefs on the way to what the type is. */
  typedefs(id: number): string[] {
    const names: string[] = [];
    let at = id;
    for (let depth = 0; depth < deepest; depth++) {
      const { kind, name, type } = this.get(at);
      if (!transparent.has(kind)) break;
      if (kind === "typedef") names.push(name);
      at = type;
    }
    return names;
  }

  /** In bytes; throws BtfError for what has no size: void, functions, forward declarations. */
  sizeOf(id: number, depth = 0): number {
    if (depth > deepest) throw malformed(`type ${id} contains itself`);
    const type = this.resolved(id);
    switch (type.kind) {
      case "int":
      case "enum":
      case "enum64":
      case "float":
      case "struct":
      case "union":
      case "section":
        return type.size;
      case "pointer":
        return this.pointerSize;
      case "array": {
        const size = type.count * this.sizeOf(type.type, depth + 1);
        if (!Number.isSafeInteger(size)) throw malformed(`array ${id} is larger than any memory`);
        return size;
      }
      case "variable":
        return this.sizeOf(type.type, depth + 1);
      default:
        throw new BtfError("no-size", `take the size of ${type.kind} ${type.name || id}: it has none`);
    }
  }

  #checkIds(): void {
    for (const { type, members } of this.#raw.types) {
      if (type >= this.count) throw malformed(`there is no type ${type}`);
      for (const member of members) if (member.type >= this.count) throw malformed(`there is no type ${member.type}`);
    }
  }

  #indexNames(): ReadonlyMap<string, readonly number[]> {
    const ids = new Map<string, number[]>();
    for (let id = this.#firstId; id < this.count; id++) {
      const { name } = this.get(id);
      const same = ids.get(name);
      if (same === undefined) ids.set(name, [id]);
      else same.push(id);
    }
    return ids;
  }
}
