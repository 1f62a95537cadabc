/** Programs, and the links that hold them on their hooks. */
import { native } from "./addon.ts";
import type { NativeHandle, NativeProgramInfo } from "./addon.ts";
import type { ClsBpfState, LinkInfo, ProgramInfo, TestRunInput, TestRunResult } from "./answers.ts";
import { BpfError, call, closedError } from "./bpf-error.ts";
import type { BpfErrorDetails } from "./bpf-error.ts";
import type { Btf } from "./btf.ts";
import { clsBpfOf, hookOf, placementOf } from "./hook.ts";
import type { AttachOptions, ClsBpf, Target } from "./hook.ts";
import type { BpfMap } from "./map.ts";
import { withNetns } from "./netns.ts";
import { Owner, QuickOwner, fromHandle, handleOf } from "./owner.ts";

export interface ProgramSpec {
  type: string;
  /** At most 15 bytes. */
  name: string;
  license: string;
  insns: Uint8Array;
  expectedAttachType?: string;
  flags?: number;
  /** For device-bound programs. */
  ifindex?: number;
  btf?: Btf;
  /** In place of `btf`: a descriptor that the caller keeps open until the promise settles. */
  btfFd?: number;
  funcInfo?: Uint8Array;
  funcInfoRecSize?: number;
  lineInfo?: Uint8Array;
  lineInfoRecSize?: number;
  attachProgram?: BpfProgram;
  attachBtfId?: number;
  fdArray?: readonly number[];
  /** 0: a log only of refusals. 1, 2 or 4: a log in any case, see `loadLog`. */
  logLevel?: number;
  /** The log buffer grows up to this; 64 MiB when left out. */
  logSizeMax?: number;
}

export function programInfoOf({ loadedAtMs, ...rest }: NativeProgramInfo): ProgramInfo {
  return { ...rest, loadedAt: new Date(loadedAtMs) };
}

export class BpfProgram extends QuickOwner {
  /** The verifier's log of a load by loadRaw() with a log level. */
  readonly loadLog: string;

  private constructor(handle: NativeHandle, loadLog = "") {
    super(handle);
    this.loadLog = loadLog;
  }

  static [fromHandle](handle: NativeHandle): BpfProgram {
    return new BpfProgram(handle);
  }

  static openPinned(path: string): BpfProgram {
    return new BpfProgram(call(() => native().programByPin(path)));
  }

  static fromId(id: number): BpfProgram {
    return new BpfProgram(call(() => native().programById(id)));
  }

  /** Loads from instructions. What these refer to by descriptor must stay open until the promise settles. */
  static async loadRaw(spec: ProgramSpec): Promise<BpfProgram> {
    const { btf, attachProgram, fdArray, ...rest } = spec;
    if (btf?.isClosed) throw closedError("load", `program ${spec.name} with BTF`);
    if (attachProgram?.isClosed) throw closedError("load", `program ${spec.name} for a program`);
    const more = {
      ...(btf && { btfFd: btf.fd }),
      ...(attachProgram && { attachProgFd: attachProgram.fd }),
      ...(fdArray && { fdArray: [...fdArray] }),
    };
    const loaded = await call(() => native().loadProgram({ ...rest, ...more }));
    const handle = loaded.take();
    if (!handle) throw closedError("load", `program ${spec.name}`);
    return new BpfProgram(handle, loaded.log);
  }

  /** Asked anew each time: run time and count move while statistics are enabled. */
  get info(): ProgramInfo {
    return programInfoOf(call(() => native().programInfo(this[handleOf])));
  }

  /** The program holds the map from now on, and `info` lists it, whether its instructions use it or not. */
  bindMap(map: BpfMap): void {
    call(() => native().bindMap(this[handleOf], map[handleOf]));
  }

  /** The instructions as the kernel rewrote them. */
  xlated(): Buffer {
    return call(() => native().programXlated(this[handleOf]));
  }

  pin(path: string): void {
    call(() => native().pin(this[handleOf], path));
  }

  /** Attaches through a link, which holds until its last descriptor and pin are gone. */
  async attach(target: Target, options: AttachOptions = {}): Promise<BpfLink> {
    const place = placementOf(target, options);
    const link = withNetns(options.inNetns, (netns) => native().attach(this[handleOf], hookOf(target), place, netns));
    return BpfLink[fromHandle](await link);
  }

  /** Attaches to a cgroup without a link: it stays after us. Flags: BPF_F_ALLOW_OVERRIDE 1, BPF_F_ALLOW_MULTI 2. */
  attachDirect(target: Target, options: { flags?: number; replace?: BpfProgram } = {}): Promise<void> {
    return call(() =>
      native().attachDirect(this[handleOf], hookOf(target), options.flags ?? 0, options.replace?.[handleOf]),
    );
  }

  detachDirect(target: Target): Promise<void> {
    return call(() => native().detachDirect(this[handleOf], hookOf(target)));
  }

  /** Creates the clsact qdisc if need be. `replace` swaps the program of the filter that is there in place. */
  attachClsBpf(at: ClsBpf & { readonly replace?: boolean }): Promise<ClsBpfState> {
    return withNetns(at.inNetns, (netns) =>
      native().attachClsBpf(this[handleOf], clsBpfOf(at), at.replace ?? false, netns),
    );
  }

  /** Runs the program on the given packet or context, not on a hook (BPF_PROG_TEST_RUN). */
  testRun(input: TestRunInput): Promise<TestRunResult> {
    return call(() => native().testRun(this[handleOf], input));
  }
}

export class BpfLink extends Owner implements AsyncDisposable {
  static [fromHandle](handle: NativeHandle): BpfLink {
    return new BpfLink(handle);
  }

  static openPinned(path: string): BpfLink {
    return new BpfLink(call(() => native().linkByPin(path)));
  }

  static fromId(id: number): BpfLink {
    return new BpfLink(call(() => native().linkById(id)));
  }

  /** Asked anew each time: an update changes the program. ifindex 0 means that the interface is gone. */
  get info(): LinkInfo {
    return call(() => native().linkInfo(this[handleOf]));
  }

  pin(path: string): void {
    call(() => native().pin(this[handleOf], path));
  }

  /** Swaps the program at once for every packet; with `expectedOld` only in its place, else "stale". */
  async update(next: BpfProgram, expectedOld?: BpfProgram): Promise<void> {
    try {
      await call(() => native().updateLink(this[handleOf], next[handleOf], expectedOld?.[handleOf]));
    } catch (error) {
      throw (expectedOld && this.#staleError(error, expectedOld)) ?? error;
    }
  }

  /** The kernel answers EPERM both for a stale expectation and for a missing privilege. */
  #staleError(error: unknown, expectedOld: BpfProgram): BpfError | undefined {
    if (!(error instanceof BpfError) || error.errnoName !== "EPERM" || this.isClosed || expectedOld.isClosed)
      return undefined;
    const { id, programId } = this.info;
    if (programId === expectedOld.info.id) return undefined;
    const { errno, errnoName, op, verifierLog, warnings } = error;
    const details: BpfErrorDetails = { code: "stale", errno, errnoName, op, verifierLog, warnings };
    return new BpfError(`update link ${id}: it runs program ${programId}, not ${expectedOld.info.id} (EPERM)`, details);
  }

  /** Takes the program off the hook, whoever else holds the link. */
  detach(): Promise<void> {
    return call(() => native().detachLink(this[handleOf]));
  }

  close(): Promise<void> {
    return call(() => this[handleOf].close());
  }

  /** On the event loop, at once: for a link that its pin holds too, whose end this cannot be. */
  closeHeld(): void {
    this[handleOf].closeNow();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
