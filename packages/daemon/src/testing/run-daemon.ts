/**
 * A daemon as a process of its own, for kernel tests: plans the filters that it is told of on its standard
 * input, again for each change of the facts, as an agent would. One JSON line in, one out.
 */
import { createInterface } from "node:readline";
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

export interface TestCommand {
  readonly filters: readonly TestFilter[];
  readonly complete: boolean;
}

export interface TestDaemonOptions {
  readonly bpffs: string;
  readonly state: string;
  readonly socket: string;
  /** Die by SIGKILL as soon as so many changes of the kernel are made. */
  readonly killAfter?: number | undefined;
  readonly driftSeconds?: number | undefined;
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

/** Changes of the kernel are counted when they are made; the last one is followed by death. */
function mortal(kernel: KernelPort, killAfter: number): KernelPort {
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
        if (changes.has(String(name)) && --left === 0) process.kill(process.pid, "SIGKILL");
        return result;
      };
    },
  });
}

const options = JSON.parse(process.argv[2] ?? "{}") as TestDaemonOptions;
const objects = new URL("../../../../build/bpf/objects.json", import.meta.url).pathname;

async function openMortal(killAfter: number): Promise<KernelPort> {
  const list = new BpfObjects(objects);
  return mortal(await NodeKernel.open({ bpffsDir: options.bpffs, loadObject: (name) => list.load(name) }), killAfter);
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
  kernel: options.killAfter === undefined ? undefined : await openMortal(options.killAfter),
});
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
let command: TestCommand | undefined;
function plan(): void {
  if (command === undefined) return;
  const made: NodePlan = assemblePlan([filter.plan(command.filters.map(intentOf), daemon.facts())]);
  daemon.setPlan(made, { complete: command.complete });
}
daemon.onFacts(plan);
say({ is: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  command = JSON.parse(line) as TestCommand;
  plan();
  const results = await daemon.settled();
  say({
    is: "settled",
    items: results.items.map(({ item, key, state, error }) => ({ item, key, state, why: error?.message })),
  });
}
await daemon.stop();
