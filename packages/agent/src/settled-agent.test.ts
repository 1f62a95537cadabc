import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { features, type InstanceCounters } from "@bpfleet/features";
import { kinds } from "@bpfleet/kinds";
import type { DaemonResults } from "@bpfleet/daemon";
import type { NodePlan } from "@bpfleet/kernel";
import { startObjectAgent } from "./agent.ts";
import { ClusterRecords } from "./cluster/cluster-records.ts";
import type { ObjectRecord } from "./records.ts";
import type { ObjectReport } from "./report.ts";
import { DirectorySource } from "./store/directory-source.ts";
import { DirectoryStore } from "./store/directory-store.ts";
import { ObedientDaemon } from "./testing/obedient-daemon.ts";

/** Its results are the same until the plan is another, as those of one in another process are. */
class SettledDaemon extends ObedientDaemon {
  /** By name of the object. */
  readonly counted = new Map<string, bigint>();
  #results: DaemonResults | undefined;

  override results(): DaemonResults {
    if (this.#results?.revision !== this.plans) this.#results = super.results();
    return this.#results;
  }
  override async counters(): Promise<readonly InstanceCounters[]> {
    const counters = await super.counters();
    return counters.map((each) => {
      const packets = this.counted.get(each.owner.name) ?? 0n;
      return { ...each, reasons: { blacklisted: { packets, bytes: packets * 60n } } };
    });
  }
}

class CountedRecords extends ClusterRecords {
  readonly saved: string[] = [];
  isBroken = false;

  override async save(record: ObjectRecord): Promise<void> {
    this.saved.push(record.ref.name);
    if (this.isBroken) throw new Error("no room");
    await super.save(record);
  }
}

const countersMs = 5000;

async function startSettled(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-agent-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  t.mock.timers.enable({ apis: ["setInterval"] });
  let nowMs = 0;
  const clock = { now: () => nowMs, monotonicMs: () => nowMs };
  const place = join(directory, "objects");
  await new DirectoryStore({ directory: place, clock }).writeAll(
    ["a", "b"].map((name, at) => {
      const spec = {
        type: "xdp",
        interface: `eth${at}`,
        settings: { blacklist: { enabled: true, ips: ["10.0.0.1"] } },
      };
      const value = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", metadata: { name }, spec };
      const ref = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name };
      return { ref, value, text: JSON.stringify(value), source: { file: "all.yaml", line: 1, isRendered: true } };
    }),
  );
  const daemon = new SettledDaemon();
  daemon.setInterfaces("eth0", "eth1");
  const records = new CountedRecords(
    async () => ({ nodeState: undefined, made: [] }),
    () => undefined,
  );
  const told: (readonly ObjectReport[])[] = [];
  const plans: NodePlan[] = [];
  const agent = await startObjectAgent({
    source: new DirectorySource({ directory: place, clock }),
    records,
    daemon,
    features,
    kinds,
    clock,
    onReports: ({ reports, plan }) => {
      told.push(reports);
      plans.push(plan);
    },
  });
  t.after(() => agent[Symbol.asyncDispose]());
  /** The next reading of counters, and all that follows from it. */
  const round = async (): Promise<void> => {
    nowMs += countersMs;
    t.mock.timers.tick(countersMs);
    // That reads files; what is told and saved meanwhile needs none.
    await agent.report();
  };
  await round();
  records.saved.length = 0;
  told.length = 0;
  return { daemon, records, told, plans, round };
}

test("startObjectAgent neither tells nor saves anything again while nothing is counted", async (t) => {
  const { records, told, round } = await startSettled(t);
  for (let at = 0; at < 3; at++) await round();
  assert.deepEqual([told.length, records.saved], [0, []]);
});

test("startObjectAgent makes and saves again only reports of what counted", async (t) => {
  const { daemon, records, told, round } = await startSettled(t);
  daemon.counted.set("a", 1n);
  await round();
  daemon.counted.set("a", 2n);
  await round();
  assert.deepEqual(records.saved, ["a", "a"]);
  const [first = [], second = []] = told;
  assert.deepEqual(
    [first, second].map((reports) => reports.map(({ ref }) => ref.name)),
    [
      ["a", "b"],
      ["a", "b"],
    ],
  );
  assert.deepEqual(
    second.map((report, at) => report === first[at]),
    [false, true],
  );
});

test("startObjectAgent saves again what could not be saved, though nothing was counted since", async (t) => {
  const { daemon, records, round } = await startSettled(t);
  records.isBroken = true;
  daemon.counted.set("a", 1n);
  await round();
  records.isBroken = false;
  await round();
  await round();
  assert.deepEqual(records.saved, ["a", "a"]);
});

test("startObjectAgent holds one plan with its daemon after facts that change nothing of it", async (t) => {
  const { daemon, plans, round } = await startSettled(t);
  const { plan, plans: sent } = daemon;
  daemon.setFacts({ bpffs: ["/sys/fs/bpf"] });
  while (plans.at(-1) === plan) await round();
  assert.equal(daemon.plans, sent);
  const { maps, programs, hooks } = plans.at(-1) ?? assert.fail();
  assert.deepEqual([maps === plan.maps, programs === plan.programs, hooks === plan.hooks], [true, true, true]);
});
