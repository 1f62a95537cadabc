import { constants } from "node:os";
import { native } from "./addon.ts";
import type { NativeObject } from "./addon.ts";
import type { Global, Instructions, MapDefinition, ProgramDefinition } from "./answers.ts";
import { BpfError, call, closedError } from "./bpf-error.ts";
import { encodeGlobal } from "./global.ts";
import type { GlobalValue } from "./global.ts";
import { BpfMap } from "./map.ts";
import { fromHandle } from "./owner.ts";
import { BpfProgram } from "./program.ts";

export interface OpenOptions {
  /** Names the object in errors, and its .rodata, .data and .bss maps. */
  name?: string;
  /** Where maps with LIBBPF_PIN_BY_NAME are pinned and looked for. Without it nothing is pinned. */
  mapPinDir?: string;
  /** Maps to use in place of new ones, by name. */
  reuseMaps?: Readonly<Record<string, BpfMap>>;
  maxEntries?: Readonly<Record<string, number>>;
  /** The only programs to load; all of them when left out. */
  autoload?: readonly string[];
  /** For programs whose section name says nothing to libbpf, or not all. `flags`: of BPF_PROG_LOAD, beside its own. */
  programTypes?: Readonly<Record<string, { type: string; expectedAttachType?: string; flags?: number }>>;
  /** Function of the kernel that a tracing program is for, in place of the one that its section names. */
  attachTargets?: Readonly<Record<string, string>>;
  /** 1 or 2: keep the verifier's log of accepted programs too; 4: only its statistics. */
  kernelLogLevel?: number;
  /** A file with the type information of the kernel to relocate for; the running one when left out. */
  kernelBtf?: string;
}

export class BpfObject implements AsyncDisposable {
  readonly #object: NativeObject;
  /** As the object declares them, `maxEntries` applied. */
  readonly maps: readonly MapDefinition[];
  readonly programs: readonly ProgramDefinition[];
  readonly license: string;
  #globals: readonly Global[] | undefined;

  private constructor(object: NativeObject) {
    this.#object = object;
    this.maps = call(() => object.maps());
    this.programs = call(() => object.programs());
    this.license = call(() => object.license);
  }

  /** Parses an ELF object and applies the options; nothing reaches the kernel yet. */
  static open(elf: Uint8Array, options: OpenOptions = {}): BpfObject {
    const { reuseMaps = {}, maxEntries = {}, programTypes = {}, attachTargets = {}, ...rest } = options;
    const reuse = Object.entries(reuseMaps);
    const closed = reuse.find(([, map]) => map.isClosed);
    if (closed) throw closedError("reuse", `map ${closed[0]}`);
    const spec = {
      ...rest,
      reuseNames: reuse.map(([name]) => name),
      reuseFds: reuse.map(([, map]) => map.fd),
      maxEntries,
      programTypes,
      attachTargets,
    };
    return new BpfObject(call(() => native().Object.open(elf, spec)));
  }

  /** The variables of .rodata, .data and .bss. */
  globals(): readonly Global[] {
    this.#globals ??= call(() => this.#object.globals());
    return this.#globals;
  }

  /** Sets a variable before the load; encoded by its type. */
  setGlobal(name: string, value: GlobalValue): void {
    const global = this.globals().find((each) => each.name === name);
    if (!global) {
      const details = {
        errno: constants.errno.ENOENT,
        errnoName: "ENOENT",
        op: "set",
        verifierLog: "",
        warnings: "",
      };
      throw new BpfError(`set global ${name}: no such variable (ENOENT)`, {
        code: "not-found",
        ...details,
      });
    }
    const bytes = encodeGlobal(global, value);
    call(() => this.#object.setBytes(global.section, global.offset, bytes));
  }

  setGlobals(values: Readonly<Record<string, GlobalValue>>): void {
    for (const [name, value] of Object.entries(values)) this.setGlobal(name, value);
  }

  /** The object's own type information. */
  btf(): Buffer {
    return call(() => this.#object.btf());
  }

  /** Creates maps and relocates instructions, without loading a program. A load may follow. */
  prepare(): Promise<void> {
    return call(() => this.#object.prepare());
  }

  load(): Promise<void> {
    return call(() => this.#object.load());
  }

  /** After prepare() or load(). Keep the object open until the instructions are loaded: it owns the map descriptors. */
  instructions(program: string): Instructions {
    return call(() => this.#object.instructions(program));
  }

  /** What the verifier said of a loaded program; needs `kernelLogLevel`. */
  verifierLog(program: string): string {
    return call(() => this.#object.verifierLog(program));
  }

  /** A descriptor of its own: close it; it outlives the object. After prepare() or load(). */
  map(name: string): BpfMap {
    return BpfMap[fromHandle](call(() => this.#object.map(name)));
  }

  /** A descriptor of its own: close it; it outlives the object. */
  program(name: string): BpfProgram {
    return BpfProgram[fromHandle](call(() => this.#object.program(name)));
  }

  close(): Promise<void> {
    return call(() => this.#object.close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
