import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Btf, BtfError, decodeValue, encodeValue, renderType, type BtfValue } from "@bpfleet/btf";
import type { MapBytes, MapTypeIds } from "./map-bytes.ts";
import { MapError } from "./map-error.ts";
import type { MapEntry, ReadableMap } from "./open-map.ts";

/** What the node tells of the map that is pinned there; `undefined` when it is another map, or nothing is told. */
export async function readTypeFile(folder: string, pin: string, id: number): Promise<MapTypeIds | undefined> {
  const [, uuid = "", name = ""] = /([^/]+)\/([^/]+)$/.exec(pin) ?? [];
  try {
    const file = JSON.parse(await readFile(join(folder, uuid, `${name}.json`), "utf8")) as Record<string, unknown>;
    const { mapId, keyTypeId, valueTypeId, btf } = file;
    if (mapId !== id || typeof keyTypeId !== "number" || typeof valueTypeId !== "number" || typeof btf !== "string")
      return undefined;
    return { btf: Buffer.from(btf, "base64"), keyTypeId, valueTypeId };
  } catch {
    return undefined;
  }
}

interface Types {
  readonly btf: Btf;
  readonly key: number;
  readonly value: number;
}

/** Bytes of a map, with what they mean. */
export class TypedMap implements ReadableMap {
  readonly #map: MapBytes;
  readonly #types: Types | undefined;
  readonly #valueStride: number;

  constructor(map: MapBytes, ids: MapTypeIds | undefined) {
    this.#map = map;
    this.#types = ids === undefined ? undefined : parseTypes(map, ids);
    this.#valueStride = map.isPerCpu ? Math.ceil(map.valueSize / 8) * 8 : map.valueSize;
  }

  get via(): "kernel" | "daemon" {
    return this.#map.via;
  }

  get keySize(): number {
    return this.#map.keySize;
  }

  get valueSize(): number {
    return this.#map.valueSize;
  }

  get types(): ReadableMap["types"] {
    if (this.#types === undefined) return undefined;
    const { btf, key, value } = this.#types;
    return { key: renderType(btf, key), value: renderType(btf, value) };
  }

  async get(key: Uint8Array): Promise<readonly Buffer[] | undefined> {
    const bytes = await this.#map.get(key);
    return bytes && this.#split(bytes);
  }

  async *keys(): AsyncGenerator<Buffer, void, void> {
    for await (const [key] of this.#read()) yield key;
  }

  async find(key: unknown): Promise<readonly BtfValue[] | undefined> {
    const { btf, key: keyId, value } = this.#known();
    const found = await this.get(encodeValue(btf, keyId, key, "key"));
    return found?.map((bytes) => decodeValue(btf, value, bytes));
  }

  async *entries(): AsyncGenerator<MapEntry, void, void> {
    const { btf, key: keyId, value: valueId } = this.#known();
    for await (const [key, values] of this.#read())
      yield { key: decodeValue(btf, keyId, key), values: values.map((bytes) => decodeValue(btf, valueId, bytes)) };
  }

  [Symbol.dispose](): void {
    this.#map[Symbol.dispose]();
  }

  #known(): Types {
    if (this.#types !== undefined) return this.#types;
    throw new MapError("read a map by its types: nobody knows them; use get and keys", "no-types");
  }

  async *#read(): AsyncGenerator<readonly [key: Buffer, values: readonly Buffer[]], void, void> {
    const { count, keys, values } = await this.#map.read();
    const [keySize, size] = [this.keySize, count === 0 ? 0 : values.length / count];
    for (let at = 0; at < count; at++)
      yield [
        Buffer.from(keys.subarray(at * keySize, (at + 1) * keySize)),
        this.#split(Buffer.from(values.subarray(at * size, (at + 1) * size))),
      ];
  }

  #split(bytes: Buffer): readonly Buffer[] {
    if (!this.#map.isPerCpu) return [bytes];
    const stride = this.#valueStride;
    const cpus = Array.from({ length: bytes.length / stride }, (_, cpu) => cpu * stride);
    return cpus.map((from) => bytes.subarray(from, from + this.valueSize));
  }
}

/** `undefined` where they do not fit the map. */
function parseTypes(map: MapBytes, { btf: bytes, keyTypeId: key, valueTypeId: value }: MapTypeIds): Types | undefined {
  try {
    const btf = Btf.parse(bytes);
    return btf.sizeOf(key) === map.keySize && btf.sizeOf(value) === map.valueSize ? { btf, key, value } : undefined;
  } catch (error) {
    if (error instanceof BtfError) return undefined;
    throw error;
  }
}
