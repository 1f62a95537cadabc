import { accessSync, constants } from "node:fs";
import { release } from "node:os";
import { errorText } from "@bpfleet/base";
import type { KernelFacts, Offer } from "@bpfleet/kernel";
import { BpfMap, BpfProgram, queryHook, selfTestChain } from "@bpfleet/native";
import { findCgroup2, type Mount } from "./mounts.ts";

/** The loopback interface of every network namespace. */
const loopbackIfindex = 1;

/** Asks the running kernel what it can do; attaches nothing and leaves nothing behind. */
export async function measureKernel(mounts: readonly Mount[]): Promise<KernelFacts> {
  const [tcx, chain] = await Promise.all([
    offer(async () => void (await queryHook({ tcx: loopbackIfindex, dir: "ingress" }))),
    selfTestChain(),
  ]);
  return {
    release: release(),
    btf: await offer(() => accessSync("/sys/kernel/btf/vmlinux", constants.R_OK)),
    tcx,
    cgroup2:
      findCgroup2(mounts) === undefined ? { has: false, why: "no cgroup v2 hierarchy is mounted" } : { has: true },
    ringbuf: await offer(() =>
      BpfMap.create({ type: "ringbuf", name: "probe", keySize: 0, valueSize: 0, maxEntries: 4096 }).close(),
    ),
    chainInline: chain.inline,
    chainStub: chain.stub,
    xdpFrags: await offer(probeFrags),
  };
}

/** `return XDP_PASS`, as a program that takes packets in fragments. */
async function probeFrags(): Promise<void> {
  const insns = Uint8Array.from([0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
  const xdpHasFrags = 1 << 5;
  (await BpfProgram.loadRaw({ type: "xdp", name: "probe", license: "GPL", insns, flags: xdpHasFrags })).close();
}

async function offer(attempt: () => unknown): Promise<Offer> {
  try {
    await attempt();
    return { has: true };
  } catch (error) {
    return { has: false, why: errorText(error) };
  }
}
