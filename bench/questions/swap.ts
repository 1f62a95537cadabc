import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { assemblePlan, emptyPlan, type NodePlan } from "@bpfleet/kernel";
import { BpfMap, mountBpffs, NodeKernel, unmount } from "@bpfleet/native";
import { compilePeer, loadProgram } from "../programs.ts";
import { realise } from "../realise.ts";
import { answer, type BenchQuestion } from "../result.ts";
import { VethPair } from "../veth-pair.ts";

const etherType = 0x88b5;
const sender = join(import.meta.dirname, "../../packages/native/testdata/send-frames.c");
const definition = { type: "percpu_array", keySize: 4, valueSize: 8, maxEntries: 2, flags: 0 } as const;

export const question: BenchQuestion = {
  name: "swap",
  asks: "how many packets go unfiltered or are lost while the program of an interface is replaced 1,000 times under load",
  async ask(context) {
    const swaps = context.isQuick ? 100 : 1_000;
    const bpffs = join(context.scratchDir, "swap-bpffs");
    mkdirSync(bpffs);
    await mountBpffs(bpffs);
    try {
      using pair = new VethPair(`bpfb${process.pid}`);
      const elf = compilePeer(context, "guard");
      const program = join(context.scratchDir, "send-frames");
      execFileSync("clang", ["-O2", sender, "-o", program]);
      const kernel = await NodeKernel.open({
        bpffsDir: bpffs,
        netns: `/run/netns/${pair.receiver}`,
        loadObject: async (name) => (name === "guard" ? elf : undefined),
      });
      const pin = join(bpffs, "frames");
      const inNetns = `/run/netns/${pair.receiver}`;

      await realise(kernel, guardPlan(elf, 0, pin));
      using frames = BpfMap.openPinned(pin);
      await using behind = await loadProgram(elf, "behind", { reuseMaps: { frames } });
      const place = { ifindex: pair.ifindex, direction: "ingress", handle: 1, priority: 20, inNetns } as const;
      await behind.program.attachClsBpf(place);
      const ours = await underLoad(pair, program, frames, async () => {
        for (let swap = 1; swap <= swaps; swap++) await realise(kernel, guardPlan(elf, swap, pin));
      });
      context.progress(`${ours.sent} frames met ${swaps} swaps`);
      await kernel.removeEverything();
      await realise(kernel, emptyPlan);

      await using guard = await loadProgram(elf, "guard", { reuseMaps: { frames } });
      const attach = () => guard.program.attach({ xdp: pair.ifindex, mode: "native" }, { inNetns });
      let link = await attach();
      const theirs = await underLoad(pair, program, frames, async () => {
        for (let swap = 1; swap <= swaps; swap++) {
          await link.close();
          link = await attach();
        }
      });
      await link.close();
      const peer = "detach and attach";
      return [
        answer("swap.unfiltered-packets", "packets", ours.unfiltered, peer, theirs.unfiltered, "0"),
        answer("swap.lost-packets", "packets", ours.lost, peer, theirs.lost, "0"),
        answer("swap.under-load.ms", "ms", (ours.seconds * 1000) / swaps, peer, (theirs.seconds * 1000) / swaps),
      ];
    } finally {
      await unmount(bpffs);
    }
  },
};

/** One XDP program on eth0, another one for every generation, with the same map. */
function guardPlan(elf: Uint8Array, generation: number, pinPath: string): NodePlan {
  const digest = createHash("sha256").update(elf).digest("hex");
  const [program, map] = ["swap/guard/program", "swap/guard/maps/frames"];
  return assemblePlan([
    {
      maps: [{ key: map, name: "frames", definition, contents: { kind: "live" }, pinPath }],
      programs: [
        {
          key: program,
          name: "guard",
          type: "xdp",
          object: { name: "guard", digest },
          entry: "guard",
          globals: { generation },
          maps: { frames: map },
        },
      ],
      attachments: [{ point: { hook: "xdp", interface: "eth0" }, member: { program, priority: 50, proceedOn: [2] } }],
      instances: [],
      problems: [],
    },
  ]);
}

interface Load {
  readonly sent: number;
  readonly unfiltered: number;
  /** Sent, and seen by neither program. */
  readonly lost: number;
  readonly seconds: number;
}

async function underLoad(pair: VethPair, program: string, frames: BpfMap, work: () => Promise<void>): Promise<Load> {
  const [met, unfiltered] = [read(frames, 0), read(frames, 1)];
  const [link] = JSON.parse(
    execFileSync("ip", ["-n", pair.sender, "-j", "link", "show", "eth0"], { encoding: "utf8" }),
  ) as { ifindex: number }[];
  const child = spawn("ip", ["netns", "exec", pair.sender, program, String(link?.ifindex), String(etherType), "60"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  const started = performance.now();
  let seconds = 0;
  let sent = 0;
  try {
    await work();
  } finally {
    seconds = (performance.now() - started) / 1000;
    child.kill("SIGTERM");
    sent = Number((await lines.next()).value);
  }
  await sleep(300);
  const passed = read(frames, 1) - unfiltered;
  return { sent, unfiltered: passed, lost: sent - (read(frames, 0) - met) - passed, seconds };
}

function read(frames: BpfMap, place: number): number {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(place);
  const values = frames.getRaw(key) ?? Buffer.alloc(0);
  let sum = 0n;
  for (let at = 0; at < values.length; at += 8) sum += values.readBigUInt64LE(at);
  return Number(sum);
}
