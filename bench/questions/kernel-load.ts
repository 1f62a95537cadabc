import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { applyActions, diffPlan, emptyJournal, emptyPlan, observePlan, type NodePlan } from "@bpfleet/kernel";
import { mountBpffs, NodeKernel, unmount } from "@bpfleet/native";
import { filterObject, filterPlan } from "../filter.ts";
import { compilePeer } from "../programs.ts";
import { answer, median, quantile, type BenchQuestion } from "../result.ts";
import { VethPair } from "../veth-pair.ts";

const entryCount = 100_000;

export const question: BenchQuestion = {
  name: "kernel",
  asks: "how long it takes to load and attach one XDP program, and to write 100,000 map entries, beside bpftool",
  async ask(context) {
    const bpffs = join(context.scratchDir, "bpffs");
    mkdirSync(bpffs);
    await mountBpffs(bpffs);
    try {
      using pair = new VethPair(`bpfb${process.pid}`);
      const kernel = await NodeKernel.open({
        bpffsDir: bpffs,
        netns: `/run/netns/${pair.receiver}`,
        loadObject: async (name) => (name === "filter" ? filterObject : undefined),
      });
      const rounds = context.isQuick ? 5 : 50;
      const plan = filterPlan({ prefixes: [{ address: 0x0a0a0a00, length: 24 }] });
      compilePeer(context, "verdict");
      const [ours, theirs]: [number[], number[]] = [[], []];
      for (let round = 0; round < rounds; round++) {
        ours.push(await timed(() => realise(kernel, plan)));
        await realise(kernel, emptyPlan);
        theirs.push(await timed(async () => attachByBpftool(context.scratchDir, bpffs, pair)));
        detachByBpftool(bpffs, pair);
      }
      const writeOurs = await timed(() => realise(kernel, entriesPlan()));
      await realise(kernel, emptyPlan);
      const writeTheirs = await timed(async () => writeByBpftool(context.scratchDir, bpffs));
      await kernel.removeEverything();
      return [
        answer("kernel.load-and-attach.p50-ms", "ms", median(ours), "bpftool load, attach", median(theirs)),
        answer(
          "kernel.load-and-attach.p95-ms",
          "ms",
          quantile(ours, 0.95),
          "bpftool load, attach",
          quantile(theirs, 0.95),
        ),
        answer("kernel.map-update.100k.ms", "ms", writeOurs, "bpftool batch", writeTheirs),
      ];
    } finally {
      await unmount(bpffs);
    }
  },
};

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Observe, plan, apply: the whole way, as the daemon goes it. */
async function realise(kernel: NodeKernel, plan: NodePlan): Promise<void> {
  const observed = await observePlan(kernel, plan);
  const { results } = await applyActions(diffPlan(plan, observed, emptyJournal), kernel, { plan, observed });
  const failed = results.find(({ state }) => state !== "in-force");
  if (failed) throw new Error(`benchmark: ${failed.item} ${failed.key} is ${failed.state}: ${failed.error?.message}`);
}

/** One hash map with 100,000 entries of ours. */
function entriesPlan(): NodePlan {
  const numbers = Uint32Array.from({ length: entryCount }, (_, index) => index);
  const keys = new Uint8Array(numbers.buffer);
  return {
    ...emptyPlan,
    maps: [
      {
        key: "maps/default/bench",
        name: "bench",
        definition: { type: "hash", keySize: 4, valueSize: 4, maxEntries: entryCount, flags: 0 },
        contents: { kind: "kept", entries: { count: entryCount, keys, values: keys }, prune: false },
      },
    ],
  };
}

function attachByBpftool(scratchDir: string, bpffs: string, pair: VethPair): void {
  execFileSync("bpftool", ["prog", "load", join(scratchDir, "verdict.bpf.o"), join(bpffs, "peer"), "type", "xdp"]);
  execFileSync("nsenter", [
    `--net=/run/netns/${pair.receiver}`,
    "bpftool",
    "net",
    "attach",
    "xdp",
    "pinned",
    join(bpffs, "peer"),
    "dev",
    "eth0",
  ]);
}

function detachByBpftool(bpffs: string, pair: VethPair): void {
  execFileSync("nsenter", [`--net=/run/netns/${pair.receiver}`, "bpftool", "net", "detach", "xdp", "dev", "eth0"]);
  execFileSync("rm", [join(bpffs, "peer")]);
}

function writeByBpftool(scratchDir: string, bpffs: string): void {
  const map = join(bpffs, "peer_map");
  execFileSync("bpftool", [
    "map",
    "create",
    map,
    "type",
    "hash",
    "key",
    "4",
    "value",
    "4",
    "entries",
    String(entryCount),
    "name",
    "peer",
  ]);
  const bytes = (index: number): string => [0, 8, 16, 24].map((shift) => (index >>> shift) & 0xff).join(" ");
  const lines = Array.from(
    { length: entryCount },
    (_, index) => `map update pinned ${map} key ${bytes(index)} value ${bytes(index)}`,
  );
  const file = join(scratchDir, "batch");
  writeFileSync(file, lines.join("\n") + "\n");
  execFileSync("bpftool", ["batch", "file", file], { stdio: "ignore" });
}
