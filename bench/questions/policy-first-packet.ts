import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import {
  bridgeList,
  CniNode,
  deniedPort,
  podObject,
  policyObject,
  type CniPod,
} from "../../test/kernel/cni-rig/cni-node.ts";
import { writeList, type NetworkList, type PluginRun } from "../../test/kernel/cni-rig/first-packet.ts";
import { answer, median, quantile, type BenchContext, type BenchQuestion, type BenchResult } from "../result.ts";

/** So long after its start a pod goes on sending: hooks are there long before. */
const sendsMs = 600;

export const question: BenchQuestion = {
  name: "policy.first-packet",
  asks: "how long a pod that starts sends what its policy denies, with and without bpfleet-cni, and how much later it starts",
  async ask({ isQuick, progress }: BenchContext): Promise<readonly BenchResult[]> {
    await using node = await CniNode.make();
    writeList(join(node.confDir, "10-pods.conflist"), bridgeList);
    node.install("--timeout-ms", "60000");
    const pods = Array.from({ length: isQuick ? 8 : 40 }, (_, at) => node.pod("shop", `web-${at}`));
    await node.change({ write: [policyObject("shop"), ...pods.map((pod) => podObject(pod, { app: "web" }))] });
    // The first one loads the programs.
    const [first, ...others] = pods;
    if (first !== undefined) await begin(node, node.readList(), first);
    const half = others.length / 2;
    const closed = await beginAll(node, node.readList(), others.slice(0, half));
    progress(`with: ${closed.windowsMs.map((ms) => ms.toFixed(1)).join(" ")} ms open`);
    const open = await beginAll(node, bridgeList, others.slice(half));
    progress(`without: ${open.windowsMs.map((ms) => ms.toFixed(1)).join(" ")} ms open`);
    const without = "no bpfleet-cni";
    const main = "bridge plug-in";
    return [
      answer(
        "policy.first-packet.window-ms",
        "ms",
        Math.max(...closed.windowsMs),
        without,
        median(open.windowsMs),
        "0 ms",
      ),
      answer("policy.first-packet.passed", "packets", sum(closed.passed), without, sum(open.passed), "0"),
      answer("policy.first-packet.add-p50-ms", "ms", median(closed.addMs), main, median(closed.mainMs)),
      answer("policy.first-packet.add-p99-ms", "ms", quantile(closed.addMs, 0.99), main, quantile(closed.mainMs, 0.99)),
    ];
  },
};

interface Begun {
  /** From the first denied packet that came through to the last. */
  readonly windowsMs: number[];
  readonly passed: number[];
  readonly mainMs: number[];
  readonly addMs: number[];
}

async function beginAll(node: CniNode, list: NetworkList, pods: readonly CniPod[]): Promise<Begun> {
  const begun: Begun = { windowsMs: [], passed: [], mainMs: [], addMs: [] };
  for (const pod of pods) {
    const receiver = await node.packets.receive(node.peer.netns, [deniedPort]);
    const [main, own] = await begin(node, list, pod);
    const received = (await receiver.end()).get(deniedPort);
    if (received === undefined) throw new Error("count packets: the other end ended");
    const { count, firstNs, lastNs } = received;
    begun.passed.push(count);
    begun.windowsMs.push(count === 0 ? 0 : Number(lastNs - firstNs) / 1e6);
    begun.mainMs.push(main?.ms ?? 0);
    begun.addMs.push(own?.ms ?? 0);
  }
  return begun;
}

/** As a runtime does: the first process runs when the plug-ins are through. */
async function begin(node: CniNode, list: NetworkList, pod: CniPod): Promise<readonly PluginRun[]> {
  const runs = await node.add(list, pod);
  const failed = runs.find(({ exitCode }) => exitCode !== 0);
  if (failed !== undefined) throw new Error(`start a pod: ${failed.output}`);
  await using _sending = node.sendFrom(pod);
  await sleep(sendsMs);
  return runs;
}

function sum(values: readonly number[]): number {
  return values.reduce((all, each) => all + each, 0);
}
