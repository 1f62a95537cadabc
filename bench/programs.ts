import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BpfObject, type BpfMap, type BpfProgram, type ChainPart, type GlobalValue } from "@bpfleet/native";
import type { MemberMode } from "@bpfleet/kernel";
import type { BenchContext } from "./result.ts";
import type { Contender } from "./interleave.ts";

const root = join(import.meta.dirname, "..");
const compiled = new Map<string, Buffer>();

/** The peer's object file, compiled once a run. */
export function compilePeer(context: BenchContext, name: string): Buffer {
  const known = compiled.get(name);
  if (known) return known;
  const out = join(context.scratchDir, `${name}.bpf.o`);
  const multiarch = execFileSync("gcc", ["-print-multiarch"], { encoding: "utf8" }).trim();
  execFileSync("clang", [
    "-target",
    "bpf",
    "-O2",
    "-g",
    "-Wall",
    "-Werror",
    `-I${root}/build/include`,
    `-I/usr/include/${multiarch}`,
    "-c",
    join(root, "bench", "peers", `${name}.bpf.c`),
    "-o",
    out,
  ]);
  const bytes = readFileSync(out);
  compiled.set(name, bytes);
  return bytes;
}

export interface Loaded extends AsyncDisposable {
  readonly object: BpfObject;
  readonly program: BpfProgram;
  /** As a member of a chain. */
  part(mode: MemberMode, proceedOn: readonly number[]): ChainPart;
}

/** Loads one program of an object, ready to run alone or in a chain. */
export async function loadProgram(
  elf: Uint8Array,
  name: string,
  options: {
    readonly reuseMaps?: Record<string, BpfMap>;
    readonly globals?: Readonly<Record<string, GlobalValue>>;
  } = {},
): Promise<Loaded> {
  const object = BpfObject.open(elf, { name: "bench", autoload: [name], reuseMaps: options.reuseMaps ?? {} });
  object.setGlobals(options.globals ?? {});
  await object.prepare();
  const instructions = object.instructions(name);
  await object.load();
  const program = object.program(name);
  return {
    object,
    program,
    part: (mode, proceedOn) => ({ program, instructions, mode, proceedOn }),
    async [Symbol.asyncDispose]() {
      program.close();
      await object.close();
    },
  };
}

/** Nanoseconds per run of a program over one packet. */
export function testRunContender(name: string, program: BpfProgram, data: Uint8Array, repeat: number): Contender {
  return { name, run: async () => (await program.testRun({ data, repeat })).durationNs };
}

/** A UDP packet of 128 bytes from `source` (IPv4, four bytes). */
export function udpFrame(source: readonly number[]): Buffer {
  const frame = ipv4Frame(17, source, [10, 0, 0, 2], 9000);
  frame.writeUInt16BE(94, 38);
  return frame;
}

/** 128 bytes with an IPv4 header and ports (from 40,000); the rest is 0. */
export function ipv4Frame(
  protocol: number,
  source: readonly number[],
  destination: readonly number[],
  port: number,
): Buffer {
  const frame = Buffer.alloc(128);
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, 14);
  frame.writeUInt16BE(114, 16);
  frame.writeUInt8(64, 22);
  frame.writeUInt8(protocol, 23);
  frame.set(source, 26);
  frame.set(destination, 30);
  frame.writeUInt16BE(40_000, 34);
  frame.writeUInt16BE(port, 36);
  return frame;
}

/** Pseudo-random numbers that are the same in every run: mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}
