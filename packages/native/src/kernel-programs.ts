import type { KernelError } from "@bpfleet/base";
import type {
  MapIdentity,
  ObservedProgram,
  ProgramIdentity,
  ProgramSpec,
  TestRun,
  TestRunResult,
} from "@bpfleet/kernel";
import { BpfError, BpfObject, BpfProgram, type BpfMap, type OpenOptions } from "./binding.ts";
import { hasFragsFlag } from "./fragments.ts";
import { hasCode, kernelError, refusal, saying } from "./kernel-error.ts";
import type { KernelMaps } from "./kernel-maps.ts";
import type { LoadedObjects } from "./loaded-objects.ts";
import { isThere, pinAt, unpin, type Pins } from "./pins.ts";

export interface OpenedObject extends AsyncDisposable {
  readonly object: BpfObject;
  /** The maps of the plan that it uses. */
  readonly shared: readonly BpfMap[];
}

/** The programs of the port, each a pin. */
export class KernelPrograms {
  readonly #pins: Pins;
  readonly #maps: KernelMaps;
  readonly #objects: LoadedObjects;

  constructor(pins: Pins, maps: KernelMaps, objects: LoadedObjects) {
    this.#pins = pins;
    this.#maps = maps;
    this.#objects = objects;
  }

  observe(): ObservedProgram[] {
    return this.#pins.identities("programs").map(({ key, generation, path }) => {
      using program = BpfProgram.openPinned(path);
      const { id, type, mapIds } = program.info;
      return { key, generation, programId: id, type, mapIds };
    });
  }

  async load(spec: ProgramSpec, identity: ProgramIdentity, maps: ReadonlyMap<string, MapIdentity>): Promise<void> {
    const path = this.#pins.program(identity);
    if (isThere(path)) return;
    await saying(`load program ${spec.key}`, async () => {
      await using opened = await this.openObject(spec, maps);
      await loadOpened(opened.object, spec);
      using program = opened.object.program(spec.entry);
      // The kernel then lists exactly what the plan names, so that observe can compare.
      for (const map of opened.shared) program.bindMap(map);
      pinAt(program, path);
    });
  }

  async remove(identity: ProgramIdentity): Promise<void> {
    await saying(`remove program ${identity.key}`, () => unpin(this.#pins.program(identity)));
  }

  /** Close it. `what` says what it is wanted for. */
  open(identity: ProgramIdentity, what: string): BpfProgram {
    try {
      return BpfProgram.openPinned(this.#pins.program(identity));
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
      throw refusal(what, `program ${identity.key} is not loaded (ENOENT)`, "not-found", "BPF_OBJ_GET");
    }
  }

  async testRun(request: TestRun): Promise<TestRunResult> {
    const { spec, maps, packet, scratch, ifindex, repeat } = request;
    const what = `run program ${spec.key}`;
    return saying(what, async () => {
      await using opened = await this.openObject(spec, maps);
      const { object } = opened;
      if (!object.maps.some((map) => map.name === scratch))
        throw refusal(what, `its object has no map ${scratch}`, "invalid", "BPF_OBJECT_OPEN");
      await object.load();
      using program = object.program(spec.entry);
      using explained = object.map(scratch);
      const input = { data: packet, ...(repeat !== undefined && { repeat }) };
      const ctx = contextOf(spec.type, packet.length, ifindex);
      // A device without a receive queue for XDP is refused; few programs look at it.
      const run =
        ctx === undefined
          ? program.testRun(input)
          : program.testRun({ ...input, ctx }).catch(() => program.testRun(input));
      const { retval, data, durationNs } = await run;
      return {
        verdict: retval | 0,
        packet: spec.type === "cgroup_skb" ? withHead(packet, data) : data,
        scratch: explained.getRaw(new Uint8Array(explained.info.keySize)) ?? new Uint8Array(0),
        nsPerRun: durationNs,
      };
    });
  }

  /** The spec as an open object: its globals set, its maps those of the plan, only its program to be loaded. */
  async openObject(spec: ProgramSpec, maps: ReadonlyMap<string, MapIdentity>): Promise<OpenedObject> {
    const what = `load program ${spec.key}`;
    using held = new DisposableStack();
    const elf = await this.#objects.bytes(spec.object, what);
    const reuseMaps: Record<string, BpfMap> = {};
    for (const name of Object.keys(spec.maps)) {
      const identity = maps.get(name);
      if (identity === undefined) throw new TypeError(`${what}: no identity for map ${name}`);
      reuseMaps[name] = held.use(this.#maps.open(identity, what));
    }
    const object = await openElf(spec, elf, reuseMaps, what);
    const shared = held.move();
    const dispose = async (): Promise<void> => {
      shared.dispose();
      await object.close();
    };
    return { object, shared: Object.values(reuseMaps), [Symbol.asyncDispose]: dispose };
  }
}

/** Where functions of the kernel cannot be watched, it says so as if a privilege were missing. */
async function loadOpened(object: BpfObject, spec: ProgramSpec): Promise<void> {
  try {
    await object.load();
  } catch (error) {
    if (error instanceof BpfError && error.errnoName === "ESRCH" && spec.type === "tracing") {
      const { section } = object.programs.find(({ name }) => name === spec.entry) ?? {};
      throw unknownFunction(
        `load program ${spec.key}`,
        spec.attachTarget ?? section?.replace(/^[^/]*\//, "") ?? "",
        error,
      );
    }
    if (spec.type !== "tracing" || process.getuid?.() !== 0 || !hasCode(error, "not-permitted")) throw error;
    const said = "this kernel refuses programs on its functions (fentry, fexit); use a tracepoint";
    throw kernelError(`load program ${spec.key}`, error, { code: "not-supported", said });
  }
}

const fragments = { type: "xdp", expectedAttachType: "xdp", flags: hasFragsFlag };

async function openElf(
  spec: ProgramSpec,
  elf: Uint8Array,
  reuseMaps: Readonly<Record<string, BpfMap>>,
  what: string,
): Promise<BpfObject> {
  const { name } = spec.object;
  await using look = BpfObject.open(elf, { name });
  const entry = look.programs.find((program) => program.name === spec.entry);
  const missing = Object.keys(reuseMaps).find((map) => !look.maps.some((each) => each.name === map));
  if (entry === undefined)
    throw refusal(what, `object ${name} has no program ${spec.entry}`, "not-found", "BPF_OBJECT_OPEN");
  if (missing !== undefined)
    throw refusal(what, `object ${name} has no map ${missing}`, "not-found", "BPF_OBJECT_OPEN");
  const kind = spec.takesFragments === true ? fragments : kindOf(spec.type, entry);
  const programTypes = kind === undefined ? {} : { [spec.entry]: kind };
  const object = openFor(spec, elf, { name, reuseMaps, autoload: [spec.entry], programTypes }, what);
  try {
    object.setGlobals(spec.globals);
    return object;
  } catch (error) {
    await object.close();
    throw error;
  }
}

/** libbpf looks the function that is watched up as it opens the object. */
function openFor(spec: ProgramSpec, elf: Uint8Array, options: OpenOptions, what: string): BpfObject {
  const { attachTarget, entry } = spec;
  if (attachTarget === undefined) return BpfObject.open(elf, options);
  try {
    return BpfObject.open(elf, { ...options, attachTargets: { [entry]: attachTarget } });
  } catch (error) {
    if (!(error instanceof BpfError) || error.op !== "target") throw error;
    throw unknownFunction(what, attachTarget, error);
  }
}

function unknownFunction(what: string, name: string, error: BpfError): KernelError {
  const said = `this kernel has no function ${name} that can be watched`;
  return kernelError(what, error, { code: "not-found", said });
}

/** What the section does not say, or says so that it would fit no chain: all of one hook have the same attach type. */
function kindOf(
  type: ProgramSpec["type"],
  { type: read, expectedAttachType }: BpfObject["programs"][number],
): { readonly type: string; readonly expectedAttachType?: string } | undefined {
  if (type === "xdp" && expectedAttachType === undefined) return { type, expectedAttachType: "xdp" };
  if ((type === "sched_cls" || type === "kprobe") && expectedAttachType !== undefined) return { type };
  return read === type ? undefined : { type };
}

/** struct xdp_md and struct __sk_buff, as far as BPF_PROG_TEST_RUN takes them. */
function contextOf(type: ProgramSpec["type"], length: number, ifindex: number | undefined): Uint8Array | undefined {
  if (ifindex === undefined) return undefined;
  if (type === "xdp") {
    const ctx = new DataView(new ArrayBuffer(24));
    ctx.setUint32(4, length, true);
    ctx.setUint32(12, ifindex, true);
    return new Uint8Array(ctx.buffer);
  }
  if (type !== "sched_cls" && type !== "cgroup_skb") return undefined;
  const ctx = new DataView(new ArrayBuffer(192));
  ctx.setUint32(40, ifindex, true);
  return new Uint8Array(ctx.buffer);
}

/** cgroup programs see the packet from its network layer on, and the kernel gives back zeros for what came before. */
function withHead(packet: Uint8Array, data: Uint8Array): Uint8Array {
  const whole = Uint8Array.from(data);
  whole.set(packet.subarray(0, Math.min(14, whole.length)));
  return whole;
}

/** `undefined` when no program is pinned there. */
export function pinnedProgramId(path: string): number | undefined {
  try {
    using program = BpfProgram.openPinned(path);
    return program.info.id;
  } catch {
    return undefined;
  }
}
