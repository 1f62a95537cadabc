/**
 * Programs that somebody brings, at functions of the kernel and of a binary: really loaded and called where
 * the kernel allows it, refused with a reason where it does not.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { hostname, release } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BpfError, BpfMap, BpfObject } from "@bpfleet/native";
import { SmallNode } from "./small-node.ts";

const root = join(import.meta.dirname, "../..");
const patienceMs = 240_000;
const nodeName = hostname().toLowerCase();
const calls = 7;
const watched = process.arch === "arm64" ? "__arm64_sys_getpgid" : "__x64_sys_getpgid";
/** Of those that no probe may be in: they run when one is hit. */
const unprobed = process.arch === "arm64" ? "el1h_64_sync_handler" : "exc_int3";

const hasUnit = (name: string): boolean => existsSync(`/sys/bus/event_source/devices/${name}`);
const [major = 0, minor = 0] = release().split(".").map(Number);
const hasEventLinks = major > 5 || (major === 5 && minor >= 15);
const offers = {
  kprobe: hasUnit("kprobe") && hasEventLinks,
  uprobe: hasUnit("uprobe") && hasEventLinks,
  function: true,
};

/** What nothing but the attempt tells: some kernels answer EPERM to root. */
async function takesPrograms(elf: Uint8Array): Promise<boolean> {
  const loading = BpfObject.open(elf, { name: "tracing", autoload: ["fentry_of_section"] });
  try {
    await loading.load();
    return true;
  } catch (error) {
    if (error instanceof BpfError && error.errnoName === "EPERM") return false;
    throw error;
  } finally {
    await loading.close();
  }
}

interface Watch {
  readonly type: string;
  readonly section: string;
  /** The function, where it is not that of the binary. */
  readonly at?: string;
  readonly needs: keyof typeof offers;
  readonly target: string;
}

const watches = {
  kprobe: { type: "KPROBE", section: "anything", needs: "kprobe", target: `kprobe ${watched}` },
  kretprobe: { type: "KRETPROBE", section: "on_return", needs: "kprobe", target: `kretprobe ${watched}` },
  "kprobe-multi": { type: "KPROBE", section: "on_calls", needs: "kprobe", target: `kprobe ${watched}` },
  uprobe: { type: "UPROBE", section: "on_poke", needs: "uprobe", target: "uprobe BINARY:poke" },
  uretprobe: { type: "URETPROBE", section: "on_poked", needs: "uprobe", target: "uretprobe BINARY:poke" },
  "uprobe-multi": { type: "UPROBE", section: "on_pokes", needs: "uprobe", target: "uprobe BINARY:poke" },
  "fentry-by-section": { type: "FENTRY", section: watched, needs: "function", target: `fentry ${watched}` },
  "fentry-by-config": { type: "FENTRY", section: "fentry_of_config", needs: "function", target: `fentry ${watched}` },
  "fexit-by-section": { type: "FEXIT", section: watched, needs: "function", target: `fexit ${watched}` },
  "fexit-by-config": { type: "FEXIT", section: "fexit_of_config", needs: "function", target: `fexit ${watched}` },
} as const satisfies Readonly<Record<string, Watch>>;

const noLinks =
  /before Linux 5\.15 there are none at tracepoints, kprobes and uprobes: use a raw tracepoint, or fentry/;
const reasons: Readonly<Record<keyof typeof offers, RegExp>> = {
  kprobe: hasUnit("kprobe") ? noLinks : /this kernel has no kprobes \(CONFIG_KPROBE_EVENTS\); use a tracepoint/,
  uprobe: hasUnit("uprobe") ? noLinks : /this kernel has no uprobes \(CONFIG_UPROBE_EVENTS\)/,
  function: /this kernel refuses programs on its functions \(fentry, fexit\); use a tracepoint/,
};

interface ProgramObject {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly programs: Readonly<Record<string, { readonly maps: Readonly<Record<string, string>> }>> };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly message: string }[] };
}

interface LinkRow {
  readonly target: string;
  readonly ours?: string;
}

/** The counter of one config, held open beyond the life of its pin. */
function readCalls(map: BpfMap): bigint {
  return map.getRaw(Buffer.alloc(4))?.readBigUInt64LE() ?? assert.fail("the map has no entry");
}

describe("programs at functions", () => {
  let node: SmallNode;
  let object: string;
  let binary: string;
  const counters = new Map<string, BpfMap>();

  before(async () => {
    node = await SmallNode.make([]);
    object = join(node.directory, "tracing.o");
    binary = join(node.directory, "poke");
    const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    const includes = ["-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
    const source = join(import.meta.dirname, "testdata/tracing.bpf.c");
    const defines = [`-DWATCHED="${watched}"`];
    execFileSync("clang", ["-target", "bpf", "-O2", "-g", ...defines, ...includes, "-c", source, "-o", object]);
    offers.function = await takesPrograms(readFileSync(object));
    const poke = `#include <unistd.h>
      int __attribute__((noinline)) poke(int at) { __asm__ volatile(""); return getpgid(0) > 0 ? at : -1; }
      int main(void) { int sum = 0; for (int at = 1; at <= ${calls}; at++) sum += poke(at); return sum == 28 ? 0 : 1; }`;
    execFileSync("cc", ["-O1", "-x", "c", "-", "-o", binary], { input: poke });
    await node.up();
  });
  after(async () => {
    for (const map of counters.values()) map[Symbol.dispose]();
    await node[Symbol.asyncDispose]();
  });

  const configOf = (name: string, { type, section, at, needs }: Watch): string => {
    const place = needs === "uprobe" ? `{name: ${at ?? "poke"}, binary: ${binary}}` : `{name: ${at ?? watched}}`;
    const spec = `{name: ${section}, type: ${type}, nodeselector: {}, attachpoint: {singleattach: ${place}}, bytecode: "file://${object}"}`;
    return `{apiVersion: bpfd.io/v1alpha1, kind: BpfProgramConfig, metadata: {name: ${name}}, spec: ${spec}}\n---\n`;
  };

  async function applied(configs: Readonly<Record<string, Watch>>): Promise<void> {
    const yaml = Object.entries(configs).map(([name, watch]) => configOf(name, watch));
    const { exitCode, out, err } = await node.run(["apply", "-f", "-"], yaml.join(""));
    assert.equal(exitCode, 0, `${out}${err}`);
  }

  /** What became of each, as soon as it is `Loaded` or `NotLoaded`. */
  async function decided(names: readonly string[]): Promise<ReadonlyMap<string, ProgramObject>> {
    let found = new Map<string, ProgramObject>();
    for (const end = performance.now() + patienceMs; performance.now() < end; await sleep(200)) {
      const { items } = JSON.parse(await node.do("get", "bpfprograms", "-o", "json")) as { items: ProgramObject[] };
      found = new Map(
        names.flatMap((name) => {
          const program = items.find(({ metadata }) => metadata.name === `${name}-${nodeName}`);
          const isDecided = /^(?:Not)?Loaded$/.test(program?.status?.conditions?.at(-1)?.type ?? "");
          return program !== undefined && isDecided ? [[name, program]] : [];
        }),
      );
      if (found.size === names.length) return found;
    }
    assert.fail(`nothing became of some: ${JSON.stringify([...found], undefined, 2)}`);
  }

  const links = async (): Promise<readonly LinkRow[]> =>
    JSON.parse(await node.do("link", "list", "--ours", "-o", "json")) as LinkRow[];

  it("are loaded and attached, or refused for what the kernel has not", async (t) => {
    t.diagnostic(`Linux ${release()}: ${JSON.stringify(offers)}`);
    await applied(watches);
    const programs = await decided(Object.keys(watches));
    for (const [name, { needs }] of Object.entries(watches)) {
      const program = programs.get(name);
      const conditions = program?.status?.conditions ?? [];
      const cause = conditions.find(({ type }) => type === "Cause")?.message;
      t.diagnostic(`${name}: ${conditions.at(-1)?.type} ${cause ?? ""}`);
      if (offers[needs]) {
        assert.equal(cause, undefined, name);
        assert.equal(conditions.at(-1)?.type, "Loaded", name);
        const pin = Object.values(program?.spec.programs ?? {})[0]?.maps["calls"] ?? assert.fail(`${name}: no map`);
        counters.set(name, BpfMap.openPinned(pin, { readOnly: true }));
      } else {
        assert.equal(conditions.at(-1)?.type, "NotLoaded", name);
        assert.match(cause ?? "", reasons[needs], name);
      }
    }
  });

  it("count each call", () => {
    execFileSync(binary);
    for (const [name, map] of counters) assert.equal(readCalls(map), BigInt(calls), name);
  });

  it("are listed with the place of their links", async () => {
    const served = Object.entries(watches).filter(([, { needs }]) => offers[needs]);
    const expected = served.map(([, { target }]) => target.replace("BINARY", binary));
    assert.deepEqual((await links()).map(({ target }) => target).toSorted(), expected.toSorted());
  });

  it("are detached when they are deleted", async () => {
    await node.do("delete", "bpfprogramconfig", ...Object.keys(watches));
    for (const end = performance.now() + patienceMs; (await links()).length > 0; await sleep(200))
      if (performance.now() > end) assert.fail("links are left");
    execFileSync(binary);
    for (const [name, map] of counters) assert.equal(readCalls(map), BigInt(calls), name);
  });

  it("are refused by name for functions that are not there, or that the kernel keeps to itself", async (t) => {
    const absent: Readonly<Record<string, Watch & { readonly why: RegExp }>> = {
      "no-kprobe": {
        ...watches.kprobe,
        at: "no_such_function",
        why: /this kernel has no function no_such_function that can be probed/,
      },
      "forbidden-kprobe": { ...watches.kprobe, at: unprobed, why: /this kernel lets no program be attached to / },
      "no-uprobe": { ...watches.uprobe, at: "no_such_function", why: /it has no function no_such_function/ },
      "no-fentry": {
        ...watches["fentry-by-config"],
        at: "no_such_function",
        why: /this kernel has no function no_such_function that can be watched/,
      },
      "no-fentry-section": {
        ...watches["fentry-by-config"],
        section: "fentry_of_nothing",
        at: "no_such_function",
        why: /this kernel has no function no_such_function that can be watched/,
      },
    };
    await applied(absent);
    const programs = await decided(Object.keys(absent));
    for (const [name, { why, needs }] of Object.entries(absent)) {
      const conditions = programs.get(name)?.status?.conditions ?? [];
      const cause = conditions.find(({ type }) => type === "Cause")?.message ?? "";
      t.diagnostic(`${name}: ${cause}`);
      assert.equal(conditions.at(-1)?.type, "NotLoaded", name);
      assert.match(cause, needs === "function" || hasUnit(needs) ? why : reasons[needs], name);
    }
  });
});
