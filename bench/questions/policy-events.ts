import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DaemonClient } from "@bpfleet/daemon/client";
import { FrameSender, processorSeconds } from "../../test/kernel/policy-rig/frame-sender.ts";
import { rigPod } from "../../test/kernel/policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig } from "../../test/kernel/policy-rig/policy-rig.ts";
import { answer, median, type BenchContext, type BenchQuestion, type BenchResult } from "../result.ts";

/** packages/daemon/src/event-throttle.ts */
const mostToldPerSecond = 2000;
const warmUpMs = 1000;

export const question: BenchQuestion = {
  name: "policy.events",
  asks: "what the daemon takes of a processor while a flood of packets is dropped and somebody looks at the drops, and how many of them it tells",
  async ask({ isQuick, progress }: BenchContext): Promise<readonly BenchResult[]> {
    const pod = rigPod("shop", "noisy", 1);
    await using rig = await PolicyRig.make("routed", [pod]);
    const netns = rig.network.netnsOf(pod);
    await rig.change({ write: [namespaceObject("shop", {}), podObject(pod, netns, {}), closed] });
    const { dir } = rig.network.sandbox;
    const flood = new FloodRounds(rig.pid, new FrameSender(dir, netns), join(dir, "node.sock"), isQuick ? 2000 : 8000);
    const looked: Round[] = [];
    const unlooked: Round[] = [];
    for (let round = 0; round < (isQuick ? 1 : 3); round++) {
      unlooked.push(await flood.round(false));
      const met = await flood.round(true);
      looked.push(met);
      progress(
        `${Math.round(met.dropsPerSecond)} drops/s, ${Math.round(met.toldPerSecond)} told/s, daemon ${met.daemonPercent.toFixed(0)} %`,
      );
    }
    const of = (rounds: readonly Round[], name: keyof Round): number => median(rounds.map((each) => each[name]));
    return [
      answer(
        "policy.events.flood.daemon-cpu-percent",
        "% of a processor",
        of(looked, "daemonPercent"),
        "the flood's sender",
        of(looked, "senderPercent"),
      ),
      answer(
        "policy.events.flood.told-per-s",
        "events/s",
        of(looked, "toldPerSecond"),
        "the most that is told",
        mostToldPerSecond,
      ),
      answer(
        "policy.events.flood.drops-per-s",
        "packets/s",
        of(looked, "dropsPerSecond"),
        "nobody looks",
        of(unlooked, "dropsPerSecond"),
      ),
    ];
  },
};

const closed = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "closed", namespace: "shop" },
  spec: { podSelector: {}, policyTypes: ["Egress"] },
};

interface Round {
  readonly dropsPerSecond: number;
  readonly toldPerSecond: number;
  readonly daemonPercent: number;
  readonly senderPercent: number;
}

class FloodRounds {
  readonly #pid: number;
  readonly #sender: FrameSender;
  readonly #socket: string;
  readonly #ms: number;

  constructor(pid: number, sender: FrameSender, socket: string, ms: number) {
    this.#pid = pid;
    this.#sender = sender;
    this.#socket = socket;
    this.#ms = ms;
  }

  async round(isLookedAt: boolean): Promise<Round> {
    using daemon = new DaemonClient(this.#socket);
    const ending = new AbortController();
    let told = 0;
    const looking = (async () => {
      if (!isLookedAt) return;
      for await (const events of daemon.trace({ every: 1, only: "drop" }, ending.signal)) told += events.length;
    })();
    const begunMs = performance.now();
    const flood = this.#sender.start();
    await sleep(warmUpMs);
    const [ours, theirs, toldBefore, measuredMs] = [
      processorSeconds(this.#pid),
      processorSeconds(flood.pid),
      told,
      performance.now(),
    ];
    await sleep(this.#ms);
    const seconds = (performance.now() - measuredMs) / 1000;
    const met = {
      toldPerSecond: (told - toldBefore) / seconds,
      daemonPercent: (100 * (processorSeconds(this.#pid) - ours)) / seconds,
      senderPercent: (100 * (processorSeconds(flood.pid) - theirs)) / seconds,
    };
    const dropsPerSecond = ((await flood.end()) * 1000) / (performance.now() - begunMs);
    ending.abort();
    await looking;
    return { ...met, dropsPerSecond };
  }
}
