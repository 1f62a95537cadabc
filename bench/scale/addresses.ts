import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { answer, quantile, type BenchContext, type BenchResult } from "../result.ts";
import { namespaceName, usageOf, type SimulatedFleet } from "./fleet.ts";
import { newAddress } from "./lines.ts";
import { storedPod } from "./store-objects.ts";

export interface Addresses {
  /** What names of results begin with. */
  readonly name: string;
  readonly operator: ChildProcess;
  readonly nodes: number;
  readonly pods: number;
  /** Followers: each watches addresses. */
  readonly agents: number;
}

const changes = 6;
const podsPerSecond = 50;
const patienceMs = 300_000;

/** From a pod's new address to every agent that reads addresses; and what the operator does of many new pods. */
export async function measureAddresses(
  { isQuick, progress }: BenchContext,
  fleet: SimulatedFleet,
  { name, operator, nodes, pods, agents }: Addresses,
): Promise<readonly BenchResult[]> {
  await fleet.watchAddresses();
  let made = 0;
  const times: number[] = [];
  for (let at = 0; at < changes; at++) {
    const address = newAddress(made++);
    const startedAt = Date.now();
    await fleet.store([storedPod(at, nodes, namespaceName(at), address)]);
    const seen = (await fleet.seenBy(agents, address, patienceMs)).map((time) => time - startedAt);
    progress(
      `an address: half of the agents had it after ${quantile(seen, 0.5)} ms, the last after ${Math.max(...seen)} ms`,
    );
    times.push(...seen);
  }
  const [writesBefore, before, startedMs] = [await fleet.writes(), usageOf(operator), performance.now()];
  const late: number[] = [];
  const waiting: Promise<void>[] = [];
  const seconds = isQuick ? 10 : 60;
  for (let second = 0; second < seconds; second++) {
    const address = newAddress(made++);
    const first = pods + second * podsPerSecond;
    const startedAt = Date.now();
    await fleet.store(
      Array.from({ length: podsPerSecond }, (_, at) => {
        // One of them is looked for.
        const other = `10.251.${second}.${at}`;
        return storedPod(first + at, nodes, namespaceName(0), at === podsPerSecond - 1 ? address : other);
      }),
    );
    const all = fleet.seenBy(agents, address, patienceMs);
    waiting.push(all.then((seen) => void late.push(...seen.map((time) => time - startedAt))));
    await sleep(Math.max(0, startedMs + (second + 1) * 1000 - performance.now()));
  }
  await Promise.all(waiting);
  const tookSeconds = (performance.now() - startedMs) / 1000;
  const [writes, after] = [(await fleet.writes()) - writesBefore, usageOf(operator)];
  const cpu = (after.cpuSeconds - before.cpuSeconds) / tookSeconds;
  const pace = "the gathering of changes";
  return [
    answer(`${name}.address-p50-s`, "s", quantile(times, 0.5) / 1000, pace, 0.2),
    answer(`${name}.address-p99-s`, "s", quantile(times, 0.99) / 1000, pace, 0.2, "<= 5 s"),
    answer(`${name}.50-new-pods-a-second.address-p99-s`, "s", quantile(late, 0.99) / 1000, "one write a second", 1),
    answer(
      `${name}.50-new-pods-a-second.writes-per-second`,
      "1/s",
      writes / tookSeconds,
      "one write a pod",
      podsPerSecond,
    ),
    answer(`${name}.50-new-pods-a-second.operator-cpu`, "processors", cpu, "its limit", 0.2, "<= 0.2"),
  ];
}
