/** A map as bytes, whoever reads it. */
export interface MapBytes extends Disposable {
  readonly via: "kernel" | "daemon";
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly isPerCpu: boolean;
  /** Where whoever reads it knows them. */
  readonly types: MapTypeIds | undefined;
  /** All values of the entry, each padded to 8 bytes where the map is per CPU. */
  get(key: Uint8Array): Promise<Buffer | undefined>;
  read(): Promise<PackedEntries>;
}

/** Keys one after the other, and all values of each. */
export interface PackedEntries {
  readonly count: number;
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
}

export interface MapTypeIds {
  /** Raw BTF. */
  readonly btf: Uint8Array;
  /** 0: not known. */
  readonly keyTypeId: number;
  readonly valueTypeId: number;
}
