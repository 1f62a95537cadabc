import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Netns, queryHook } from "@bpfleet/native";
import { bareNodeMemory, startBareNode } from "../bare-node.ts";
import { timeBpftoolAttach } from "../bpftool.ts";
import { compilePeer } from "../programs.ts";
import { answer, median, quantile, type BenchQuestion, type BenchResult } from "../result.ts";
import { Standalone } from "../standalone.ts";
import { VethPair } from "../veth-pair.ts";

const manyObjects = 1_000;

export const question: BenchQuestion = {
  name: "daemon",
  asks: "how long from a written declaration to the program that is in force, how soon the daemon is ready, and what memory it holds",
  async ask(context) {
    compilePeer(context, "verdict");
    using pair = new VethPair(`bpfb${process.pid}`);
    const up = (name: string): Promise<Standalone> => Standalone.up(pair.receiver, join(context.scratchDir, name));
    const results: BenchResult[] = [];

    const starts: number[] = [];
    const bareStarts: number[] = [];
    for (let round = 0; round < (context.isQuick ? 2 : 7); round++) {
      await using daemon = await up(`start-${round}`);
      starts.push(daemon.startMs);
      bareStarts.push(await startBareNode());
    }
    results.push(answer("daemon.start-ms", "ms", median(starts), "node -e 0", median(bareStarts), "< 500 ms"));

    {
      await using daemon = await up("apply");
      const ours = await timeEdits(daemon, pair, context.isQuick ? 10 : 100);
      const object = join(context.scratchDir, "verdict.bpf.o");
      execFileSync("ip", ["-n", pair.receiver, "link", "add", "peer0", "type", "veth", "peer", "name", "peer1"]);
      const theirs = timeBpftoolAttach(pair.receiver, "peer0", object, context.isQuick ? 3 : 20);
      results.push(
        answer("apply.in-force.p50-ms", "ms", median(ours), "bpftool load, attach, detach", median(theirs)),
        answer(
          "apply.in-force.p99-ms",
          "ms",
          quantile(ours, 0.99),
          "bpftool load, attach, detach",
          quantile(theirs, 0.99),
          "< 50 ms",
        ),
      );
    }

    const bare = await bareNodeMemory();
    for (const [label, count] of [
      ["", 0],
      [".1000-objects", manyObjects],
    ] as const) {
      await using daemon = await up(`memory-${count}`);
      for (let index = 0; index < count; index++) daemon.declare("EBPFMap", `map-${index}`, mapYaml(index));
      await sleep(context.isQuick ? 4_000 : 15_000);
      const { pssMib, rssMib } = daemon.memory();
      results.push(
        answer(
          `daemon.resident-mib${label}`,
          "MiB PSS",
          pssMib,
          "idle node",
          bare.pssMib,
          count === 0 ? "< 96 MiB" : null,
        ),
        answer(`daemon.rss-mib${label}`, "MiB RSS", rssMib, "idle node", bare.rssMib),
      );
    }
    return results;
  },
};

/** Edits one EBPFProgram again and again; in force is when the kernel names another program on the interface. */
async function timeEdits(daemon: Standalone, pair: VethPair, edits: number): Promise<number[]> {
  using netns = Netns.open(`/run/netns/${pair.receiver}`);
  const attached = async (): Promise<number> =>
    (await queryHook({ xdp: pair.ifindex }, { inNetns: netns })).programs[0] ?? 0;
  const samples: number[] = [];
  for (let edit = 0; edit <= edits; edit++) {
    const before = await attached();
    const started = performance.now();
    daemon.declare("EBPFProgram", "bench", programYaml(edit));
    while ((await attached()) === before) {
      // A look costs a thread in the namespace: without a pause the looking slows what is looked at.
      await sleep(1);
      if (performance.now() - started > 10_000) throw new Error("benchmark: a declaration is not in force after 10 s");
    }
    // The first one attaches; an edit replaces.
    if (edit > 0) samples.push(performance.now() - started);
    await sleep(60);
  }
  return samples;
}

function programYaml(edit: number): string {
  return `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: { name: bench, namespace: default }
spec:
  type: xdp
  interface: eth0
  settings:
    rateLimiting: { enabled: true, packetsPerSecond: 10000 }
    blacklist: { enabled: true, ips: ["192.168.1.100", "10.10.${edit % 250}.0/24"] }
    stateful: true
`;
}

function mapYaml(index: number): string {
  return `apiVersion: networking.fos1.io/v1alpha1
kind: EBPFMap
metadata: { name: map-${index}, namespace: default }
spec: { type: hash, maxEntries: 64, keySize: 4, valueSize: 8, initData: [{ key: "0x0000000${index % 10}", value: "0x0000000000000001" }] }
`;
}
