import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { answer, type BenchContext, type BenchResult } from "../result.ts";
import { declareProgram, programs } from "./declared.ts";
import { usageOf, type SimulatedFleet } from "./fleet.ts";
import { versionOf } from "./lines.ts";

export interface UnderTraffic {
  /** What names of results begin with. */
  readonly name: string;
  readonly operator: ChildProcess;
  /** MiB that the guide gives the operator. */
  readonly operatorMib: number;
  /** Resolves when the status spoke of a version on all nodes. */
  readonly told: (version: string) => Promise<number>;
}

/** Of a node of ordinary size. */
const objects = 50;
/** What all nodes together are to write of numbers, and the operator of 50 objects; docs/guides/cluster.md says so. */
const writesPerSecond = 20 + objects / 30;
const asBench = { fieldManager: "bench", isForced: true };

/** Fifty objects, an ordinary inventory, and numbers of all of it that grow on each node: what is written all the time. */
export async function measureUnderTraffic(
  { isQuick, progress }: BenchContext,
  fleet: SimulatedFleet,
  { name, operator, operatorMib, told }: UnderTraffic,
): Promise<readonly BenchResult[]> {
  const names = Array.from({ length: objects }, (_, at) => `busy-${at}`);
  let version = "";
  for (const each of names) {
    const { metadata } = await fleet.client.apply(programs, declareProgram(each, "198.51.100.1"), asBench);
    version = versionOf(metadata);
  }
  await told(version);
  fleet.tell("traffic");
  // Until each has looked once.
  await sleep(isQuick ? 20_000 : 90_000);
  const before = await sample(fleet, operator);
  await sleep(isQuick ? 60_000 : 180_000);
  const after = await sample(fleet, operator);
  fleet.tell("rest");
  for (const each of names) await fleet.client.delete({ ...programs, name: each });
  await settled(fleet);
  const seconds = (after.atMs - before.atMs) / 1000;
  progress(`under traffic ${after.writes - before.writes} writes in ${seconds.toFixed(0)} s`);
  const perMinute = (60 * (after.storeMib - before.storeMib)) / seconds;
  const cpu = (after.cpuSeconds - before.cpuSeconds) / seconds;
  const target = `<= ${Math.round(writesPerSecond)} 1/s`;
  const writes = (after.writes - before.writes) / seconds;
  const peer = "what the guide gives a fleet";
  return [
    answer(`${name}.traffic.writes-per-second`, "1/s", writes, peer, writesPerSecond, target),
    answer(`${name}.traffic.store-mib-per-minute`, "MiB/min", perMinute, "30 KiB a write", (writesPerSecond * 60) / 34),
    answer(`${name}.traffic.operator-cpu`, "processors", cpu, "its limit", 0.2, "<= 0.2"),
    answer(
      `${name}.traffic.operator-own-mib`,
      "MiB",
      after.mebibytes,
      "what the guide gives it",
      operatorMib,
      `<= ${operatorMib} MiB`,
    ),
  ];
}

async function sample(fleet: SimulatedFleet, operator: ChildProcess) {
  const [writes, storeMib] = [await fleet.writes(), await fleet.storeMib()];
  return { atMs: performance.now(), writes, storeMib, ...usageOf(operator) };
}

/** What is measured next is not to be told of these. */
async function settled(fleet: SimulatedFleet): Promise<void> {
  for (let before = await fleet.writes(), tries = 0; tries < 60; tries++) {
    await sleep(10_000);
    const now = await fleet.writes();
    if (now - before < 10) return;
    before = now;
  }
}
