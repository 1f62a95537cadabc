import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** The fields of one message as they are on the wire: what a number means is for whoever reads it. */
export class Fields {
  readonly #varints = new Map<number, bigint[]>();
  readonly #bytes = new Map<number, Uint8Array[]>();

  private constructor() {}

  /** Throws when the bytes are no message. */
  static parse(bytes: Uint8Array): Fields {
    const fields = new Fields();
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [number, type] = reader.tag();
      if (type === WireType.Varint) add(fields.#varints, number, BigInt(reader.uint64()));
      else if (type === WireType.LengthDelimited) add(fields.#bytes, number, reader.bytes());
      else reader.skip(type, number);
    }
    return fields;
  }

  hasVarint(number: number): boolean {
    return this.#varints.has(number);
  }

  hasBytes(number: number): boolean {
    return this.#bytes.has(number);
  }

  /** The last one, as protobuf has it; 0 when there is none. */
  int32(number: number): number {
    return Number(BigInt.asIntN(32, this.#varints.get(number)?.at(-1) ?? 0n));
  }

  /** `""` when there is none. */
  text(number: number): string {
    const bytes = this.#bytes.get(number)?.at(-1);
    return bytes === undefined ? "" : new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  }

  message(number: number): Fields | undefined {
    const bytes = this.#bytes.get(number)?.at(-1);
    return bytes === undefined ? undefined : Fields.parse(bytes);
  }

  /** Repeated numbers, packed or not. */
  int32s(number: number): readonly number[] {
    const packed = (this.#bytes.get(number) ?? []).flatMap((bytes) => {
      const reader = new BinaryReader(bytes);
      const values: number[] = [];
      while (reader.pos < reader.len) values.push(reader.int32());
      return values;
    });
    return [...packed, ...(this.#varints.get(number) ?? []).map((value) => Number(BigInt.asIntN(32, value)))];
  }

  /** `map<string, bytes>` */
  byteMap(number: number): ReadonlyMap<string, Uint8Array> {
    const entries = (this.#bytes.get(number) ?? []).map((bytes) => {
      const entry = Fields.parse(bytes);
      return [entry.text(1), entry.#bytes.get(2)?.at(-1) ?? new Uint8Array()] as const;
    });
    return new Map(entries);
  }
}

function add<V>(values: Map<number, V[]>, number: number, value: V): void {
  const known = values.get(number);
  if (known === undefined) values.set(number, [value]);
  else known.push(value);
}

/** One message; what equals proto3's defaults is left out, as other implementations do. */
export class MessageWriter {
  readonly #writer = new BinaryWriter();

  text(number: number, value: string): this {
    if (value !== "") this.#writer.tag(number, WireType.LengthDelimited).string(value);
    return this;
  }

  int32(number: number, value: number): this {
    if (value !== 0) this.#writer.tag(number, WireType.Varint).int32(value);
    return this;
  }

  flag(number: number, isSet: boolean): this {
    return this.int32(number, isSet ? 1 : 0);
  }

  int32s(number: number, values: readonly number[]): this {
    if (values.length === 0) return this;
    this.#writer.tag(number, WireType.LengthDelimited).fork();
    for (const value of values) this.#writer.int32(value);
    this.#writer.join();
    return this;
  }

  bytes(number: number, value: Uint8Array): this {
    this.#writer.tag(number, WireType.LengthDelimited).bytes(value);
    return this;
  }

  message(number: number, value: MessageWriter): this {
    return this.bytes(number, value.finish());
  }

  finish(): Uint8Array {
    return this.#writer.finish();
  }
}
