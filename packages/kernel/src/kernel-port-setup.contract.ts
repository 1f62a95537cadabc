import { KernelError, type ErrorCode } from "@bpfleet/base";
import assert from "node:assert/strict";
import { noEntries } from "./entries.ts";
import { hookGeneration, mapIdentity, programIdentity, renderIdentity } from "./identity.ts";
import type { ChainMember, HookRequest, KernelPort, MapIdentity, ObservedKernel } from "./port.ts";
import { renderHookKey } from "./hook-point.ts";
import type { HookPoint } from "./hook-point.ts";
import type { GlobalValue, MapContents, MapDefinition, MapEntries, MapSpec, ProgramSpec } from "./specs.ts";

/** What the suites of kernel-port.contract.ts have in common. */

/** A kernel to try a port on, all of it for one test. */
export interface ContractHarness extends AsyncDisposable {
  /** Another port over the same state, as a restarted process has. */
  open(): Promise<KernelPort>;
  /** Takes XDP in the driver, and tc. */
  readonly interface: string;
  /** Takes XDP only in the generic path. */
  readonly genericInterface: string;
  removeInterface(): Promise<void>;
  addInterface(): Promise<void>;
  /** Of `interface`. */
  renameInterface(to: string): Promise<void>;
  /** Of cgroup v2. */
  readonly cgroup: string;
  /** This kernel lets programs watch its functions. */
  readonly hasKprobes: boolean;
  /** Somebody else attaches an XDP program to `interface`. */
  occupy(): Promise<{ readonly id: number; readonly name: string }>;
  /** A directory on a bpffs that is the user's. */
  readonly userPins: string;
  /** Somebody else pins something there. */
  pinForeign(path: string): Promise<void>;
  /** What is pinned there: the id of a map, or undefined. */
  pinnedId(path: string): Promise<number | undefined>;
  /**
   * An object with the programs `count_xdp`, `count_tc`, `count_skb`, `count_raw`, `count_probe`: each adds 1 to entry 0 of map
   * `counts`, writes the global `mark` to its private map `scratch` and returns the global `verdict`;
   * none touches map `list`.
   */
  readonly object: { readonly name: string; readonly digest: string };
}

/** Registers one test: a kernel of its own, a port on it. */
export type Contract = (sentence: string, run: (port: KernelPort, kernel: ContractHarness) => Promise<void>) => void;

export const counts: MapDefinition = { type: "array", keySize: 4, valueSize: 8, maxEntries: 4, flags: 0 };
export const list: MapDefinition = { type: "hash", keySize: 4, valueSize: 4, maxEntries: 4, flags: 0 };
export const packet = Uint8Array.from({ length: 64 }, (_, at) => (at === 12 ? 8 : at === 14 ? 0x45 : 0));

const entryTypes: Readonly<Record<string, ProgramSpec["type"]>> = {
  count_tc: "sched_cls",
  count_skb: "cgroup_skb",
  count_raw: "raw_tracepoint",
  count_probe: "kprobe",
};

/** Maps and one program over them, in the kernel. */
export async function loaded(
  port: KernelPort,
  kernel: ContractHarness,
  entry: string,
  globals: Record<string, GlobalValue> = {},
  name = "one",
): Promise<{ readonly member: ChainMember }> {
  const maps = [
    mapSpec("test/counts", counts),
    mapSpec("test/list", list, { kind: "sealed", digest: "d", entries: noEntries }),
  ];
  for (const spec of maps) await port.createMap(spec);
  const identities = new Map(maps.map((spec) => [spec.key, mapIdentity(spec)]));
  const spec: ProgramSpec = {
    key: `test/${name}/${entry}`,
    name: "contract",
    type: entryTypes[entry] ?? "xdp",
    object: kernel.object,
    entry,
    globals,
    maps: { counts: "test/counts", list: "test/list" },
  };
  const identity = programIdentity(spec, identities);
  assert.ok(identity !== undefined);
  const used = new Map(Object.entries(spec.maps).map(([own, key]) => [own, identities.get(key) as MapIdentity]));
  await port.loadProgram(spec, identity, used);
  return { member: { spec, identity, maps: used, mode: "stub", proceedOn: [] } };
}

export function mapSpec(key: string, definition: MapDefinition, contents: MapContents = { kind: "live" }): MapSpec {
  return { key, name: "contract", definition, contents };
}

export function proceed(member: ChainMember, code: number, mode: ChainMember["mode"] = "stub"): ChainMember {
  return { ...member, mode, proceedOn: [code] };
}

export function request(
  point: HookPoint,
  members: readonly ChainMember[],
  options: Partial<HookRequest> = {},
): HookRequest {
  const key = renderHookKey(point);
  const wishes = members.map((member, at) => ({ program: member.spec.key, priority: at, proceedOn: member.proceedOn }));
  return {
    spec: { key, point, members: wishes },
    generation: hookGeneration(point, members),
    members,
    mode: "native",
    legacyTc: false,
    ...options,
  };
}

export async function programIds(port: KernelPort, members: readonly ChainMember[]): Promise<number[]> {
  const { programs } = await port.observe();
  const ids = new Map(programs.map((program) => [renderIdentity(program), program.programId]));
  return members.map((member) => ids.get(renderIdentity(member.identity)) ?? 0);
}

export async function rejects(promise: Promise<unknown>, code: ErrorCode): Promise<KernelError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof KernelError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(!error.message.endsWith("."));
    return error;
  }
  return assert.fail(`expected an error with code ${code}`);
}

/** Key → value on the first CPU, both in hexadecimal. */
export function indexFirstCpu(entries: MapEntries | undefined, valueSize: number): Map<string, string> {
  assert.ok(entries !== undefined);
  const found: [string, string][] = [];
  const keySize = entries.keys.length / entries.count;
  const stride = entries.values.length / entries.count;
  for (let at = 0; at < entries.count; at++) {
    found.push([
      hex(entries.keys.slice(at * keySize, (at + 1) * keySize)),
      hex(entries.values.slice(at * stride, at * stride + valueSize)),
    ]);
  }
  return new Map(found.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export function names(identities: readonly MapIdentity[]): string[] {
  return identities.map(renderIdentity).toSorted();
}

export function sorted(observed: ObservedKernel): ObservedKernel {
  const byName = (a: MapIdentity, b: MapIdentity) => (renderIdentity(a) < renderIdentity(b) ? -1 : 1);
  return {
    maps: observed.maps.toSorted(byName),
    programs: observed.programs.toSorted(byName),
    hooks: observed.hooks.toSorted(byName),
  };
}

export function bytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "hex"));
}

export function hex(data: Uint8Array | undefined): string {
  assert.ok(data !== undefined);
  return Buffer.from(data).toString("hex");
}
