/** A network namespace with interfaces, a cgroup and a bpffs, and ports over them. */
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ContractHarness } from "@bpfleet/kernel/contract";
import { type BpfLink, BpfMap, BpfObject } from "../binding.ts";
import { NodeKernel } from "../node-kernel.ts";
import { KernelSandbox } from "./kernel-sandbox.ts";

export interface NodeHarness extends ContractHarness {
  readonly sandbox: KernelSandbox;
  readonly netns: { readonly name: string; readonly path: string };
  /** The other end of `interface`, with 10.9.0.2. */
  readonly peer: { readonly name: string; readonly path: string };
  readonly bpffs: string;
  open(): Promise<NodeKernel>;
}

let compiled: Buffer | undefined;

export async function nodeHarness(): Promise<NodeHarness> {
  const sandbox = new KernelSandbox();
  try {
    return await harnessIn(sandbox);
  } catch (error) {
    await sandbox[Symbol.asyncDispose]();
    throw error;
  }
}

async function harnessIn(sandbox: KernelSandbox): Promise<NodeHarness> {
  const { near, far } = sandbox.pair();
  const bpffs = await sandbox.bpffs();
  const userPins = join(bpffs, "user");
  mkdirSync(userPins);
  const cgroup = sandbox.cgroup();
  if (cgroup === undefined) throw new Error("find cgroup v2: it is not mounted");
  const elf = (compiled ??= sandbox.compile("contract"));
  let held = await keepNothing();
  const harness: NodeHarness = {
    sandbox,
    netns: near,
    peer: far,
    bpffs,
    open: () =>
      NodeKernel.open({
        bpffsDir: bpffs,
        netns: near.path,
        loadObject: async (name) => (name === "contract" ? elf : undefined),
      }),
    interface: "v0",
    genericInterface: "lo",
    removeInterface: async () => void sandbox.ip(near.name, "link", "delete", "v0"),
    renameInterface: async (to) => void sandbox.ip(near.name, "link", "set", "v0", "name", to),
    addInterface: async () => {
      sandbox.ip(near.name, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", far.name);
      for (const [index, { name }] of [near, far].entries()) {
        sandbox.ip(name, "address", "add", `10.9.0.${index + 1}/24`, "dev", "v0");
        sandbox.ip(name, "link", "set", "v0", "up");
      }
    },
    cgroup,
    hasKprobes: existsSync("/sys/bus/event_source/devices/kprobe"),
    occupy: async () => {
      await using object = BpfObject.open(elf, { name: "foreign", autoload: ["count_xdp"] });
      await object.load();
      using program = object.program("count_xdp");
      const link = await program.attach({ xdp: sandbox.ifindex(near.name, "v0") }, { inNetns: near.path });
      held = link;
      return program.info;
    },
    userPins,
    pinForeign: async (path) => {
      using map = BpfMap.create({ type: "array", name: "theirs", keySize: 4, valueSize: 4, maxEntries: 1 });
      map.pin(path);
    },
    pinnedId: async (path) => {
      try {
        using map = BpfMap.openPinned(path);
        return map.info.id;
      } catch {
        return undefined;
      }
    },
    object: { name: "contract", digest: createHash("sha256").update(elf).digest("hex") },
    [Symbol.asyncDispose]: async () => {
      await held[Symbol.asyncDispose]();
      await (await harness.open()).removeEverything();
      await sandbox[Symbol.asyncDispose]();
    },
  };
  return harness;
}

async function keepNothing(): Promise<AsyncDisposable | BpfLink> {
  return { [Symbol.asyncDispose]: async () => undefined };
}

export function bpftool(...args: string[]): unknown {
  return JSON.parse(execFileSync("bpftool", ["-j", ...args], { encoding: "utf8" }));
}
