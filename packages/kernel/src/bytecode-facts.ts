import type { MapDefinition, ProgramType } from "./specs.ts";

/** Where an object comes from. The daemon fetches, verifies and reads it; plans see only the facts. */
export type BytecodeSource =
  | {
      readonly from: "image";
      readonly reference: string;
      readonly pullPolicy: "Always" | "IfNotPresent" | "Never";
      /** `namespace/name` of the Secret with the credentials. */
      readonly pullSecret?: string | undefined;
    }
  | { readonly from: "file"; readonly path: string };

/** One string per source: key of `NodeFacts.bytecode`. */
export function renderSource(source: BytecodeSource): string {
  if (source.from === "file") return `file://${source.path}`;
  return `image://${source.reference}?pull=${source.pullPolicy}&secret=${source.pullSecret ?? ""}`;
}

/** What the daemon knows of a source. */
export type BytecodeFacts =
  | {
      readonly state: "fetching";
      /** How far it has come, in words, where it takes long. */
      readonly slow?: string | undefined;
    }
  | {
      readonly state: "failed";
      /** Condition reason: `ImagePullFailed`, `SignatureRefused`, `NotAnObject`, … */
      readonly reason: string;
      readonly message: string;
      /** What was ready before, and goes on being used. */
      readonly earlier?: BytecodeReady | undefined;
    }
  | BytecodeReady;

export interface BytecodeReady {
  readonly state: "ready";
  /** SHA-256 of the ELF's bytes, hexadecimal; ProgramSpec.object names the object `bytecode/<objectDigest>`. */
  readonly objectDigest: string;
  /** Digest of the manifest; undefined for files. */
  readonly imageDigest?: string | undefined;
  /** Who signed, in words; or `unsigned`. */
  readonly signature: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly programs: readonly BytecodeProgram[];
  readonly maps: readonly BytecodeMap[];
  readonly globals: readonly BytecodeGlobal[];
  readonly license: string;
}

export interface BytecodeProgram {
  /** Function name. */
  readonly entry: string;
  /** ELF section as it is: `xdp/pass`. */
  readonly section: string;
  /** As libbpf reads the section; undefined when the section says none. */
  readonly type: ProgramType | undefined;
  readonly instructions: number;
}

export interface BytecodeMap {
  readonly name: string;
  readonly definition: MapDefinition;
  /** Fingerprint of the BTF of key and value; equal layouts, equal text. `""` without BTF. */
  readonly layout: string;
  /** `struct datarec { __u64 rx_packets; __u64 rx_bytes; }`, for people. */
  readonly keyType: string;
  readonly valueType: string;
}

export interface BytecodeGlobal {
  readonly name: string;
  readonly section: string;
  readonly sizeBytes: number;
  /** C type, for people: `__u32`, `char[16]`. */
  readonly type: string;
  /** What values it takes. */
  readonly shape: GlobalShape;
}

/** Of a variable, as far as values are checked; everything is little endian. */
export type GlobalShape =
  | { readonly is: "int"; readonly sizeBytes: number; readonly isSigned: boolean }
  | { readonly is: "float"; readonly sizeBytes: number }
  | { readonly is: "bool" }
  | { readonly is: "char" }
  /** Values as decimal text, by the name of the enumerator. */
  | { readonly is: "enum"; readonly sizeBytes: number; readonly names: Readonly<Record<string, string>> }
  | { readonly is: "array"; readonly count: number; readonly of: GlobalShape }
  /** Structs, unions, pointers: set by none. */
  | { readonly is: "other"; readonly sizeBytes: number };

/** What a map of somebody's program held, for telling how it changed. */
export interface SeenMap {
  readonly definition: MapDefinition;
  readonly layout: string;
  readonly keyType: string;
  readonly valueType: string;
}
