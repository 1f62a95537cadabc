/**
 * A daemon as a process of its own, for kernel tests: plans the filters that it is told of on its standard
 * input, again for each change of the facts, as an agent would. One JSON line in, one out.
 */
import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import v8 from "node:v8";
import vm from "node:vm";
import { filter, type BlacklistEntry, type FilterIntent } from "@bpfleet/features";
import { assemblePlan, type KernelPort, type NodePlan } from "@bpfleet/kernel";
import { NodeKernel } from "@bpfleet/native";
import { BpfObjects } from "../facts/objects.ts";
import { startDaemon } from "../mod.ts";

export interface TestFilter {
  readonly name: string;
  readonly interface: string;
  readonly hook?: "xdp" | "tc-ingress" | undefined;
  /** IPv4 addresses. */
  readonly blacklist: readonly string[];
}

export type TestCommand =
  | { readonly filters: readonly TestFilter[]; readonly complete: boolean }
  /** Tells what it holds between two looks when it has looked so often at the kernel and all garbage is collected. */
  | { readonly ask: "holdings"; readonly looks: number };

export interface Holdings {
  /** How often it has looked at the kernel. */
  readonly looks: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
  readonly descriptors: number;
}

export interface TestDaemonOptions {
  readonly bpffs: string;
  readonly state: string;
  readonly socket: string;
  /** Die by SIGKILL as soon as so many changes of the kernel are made. */
  readonly killAfter?: number | undefined;
  readonly driftSeconds?: number | undefined;
  readonly countsLooks?: boolean | undefined;
  readonly metricsSocket?: string | undefined;
}

function intentOf({ name, interface: at, hook = "xdp", blacklist }: TestFilter): FilterIntent {
  const origin = { object: { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name }, path: "" };
  const entries = blacklist.map((text): BlacklistEntry => ({
    prefix: { family: 4, bytes: Uint8Array.from(text.split("."), Number), length: 32 },
    text,
    origin,
  }));
  return {
    feature: "filter",
    origin,
    at: { hook, interface: at },
    priority: 100,
    blacklist: { entries, origin },
    isStateful: false,
    maps: [],
  };
}

let looks = 0;

/** Looks and changes of the kernel are counted when they are made; the last change is followed by death. */
function counted(kernel: KernelPort, killAfter: number): KernelPort {
  const changes = new Set([
    "createMap",
    "writeMap",
    "removeMap",
    "pinMap",
    "unpinMap",
    "loadProgram",
    "removeProgram",
    "setHook",
    "clearHook",
  ]);
  let left = killAfter;
  return new Proxy(kernel, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const result: unknown = await Reflect.apply(value, target, args);
        if (name === "observe") looks++;
        if (changes.has(String(name)) && --left === 0) process.kill(process.pid, "SIGKILL");
        return result;
      };
    },
  });
}

const options = JSON.parse(process.argv[2] ?? "{}") as TestDaemonOptions;
const objects = new URL("../../../../build/bpf/objects.json", import.meta.url).pathname;

async function openCounted(killAfter: number): Promise<KernelPort> {
  const list = new BpfObjects(objects);
  return counted(await NodeKernel.open({ bpffsDir: options.bpffs, loadObject: (name) => list.load(name) }), killAfter);
}

const daemon = await startDaemon({
  nodeName: "test",
  version: "0.0.0-test",
  bpffs: options.bpffs,
  state: options.state,
  socket: options.socket,
  objects,
  features: [filter],
  driftSeconds: options.driftSeconds ?? 60,
  metrics: options.metricsSocket === undefined ? undefined : { unix: options.metricsSocket },
  log: { level: "info" },
  kernel:
    options.killAfter === undefined && options.countsLooks !== true
      ? undefined
      : await openCounted(options.killAfter ?? Infinity),
});
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
let command: Extract<TestCommand, { filters: unknown }> | undefined;
v8.setFlagsFromString("--expose-gc");
const collect = vm.runInNewContext("gc") as () => void;
async function holdingsAfter(least: number): Promise<Holdings> {
  const hasLooked = (): boolean => looks >= least;
  while (!hasLooked()) await new Promise((resolve) => setTimeout(resolve, 20));
  const held = { looks, heapBytes: Infinity, externalBytes: Infinity, descriptors: Infinity };
  // A look that is under way holds what it reads: the least of several moments. One collection may free what the next one collects.
  for (let round = 0; round < 20; round++) {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    held.heapBytes = Math.min(held.heapBytes, heapUsed);
    held.externalBytes = Math.min(held.externalBytes, external);
    held.descriptors = Math.min(held.descriptors, readdirSync("/proc/self/fd").length);
    await new Promise((resolve) => setTimeout(resolve, 1 + (round % 5)));
  }
  return held;
}
function plan(): void {
  if (command === undefined) return;
  const made: NodePlan = assemblePlan([filter.plan(command.filters.map(intentOf), daemon.facts())]);
  daemon.setPlan(made, { complete: command.complete });
}
daemon.onFacts(plan);
say({ is: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const given = JSON.parse(line) as TestCommand;
  if ("ask" in given) {
    say({ is: "holdings", ...(await holdingsAfter(given.looks)) });
    continue;
  }
  command = given;
  plan();
  const results = await daemon.settled();
  say({
    is: "settled",
    items: results.items.map(({ item, key, state, error }) => ({ item, key, state, why: error?.message })),
  });
}
await daemon.stop();
