import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { leases } from "@bpfleet/kube";
import type { ElectionConfig, Lease } from "@bpfleet/kube";
import { at, connectKube, createLeaderElector, loadAccess, systemTiming } from "@bpfleet/kube-client";
import type { ClusterAccess, KubeClient, LeaderElector, Timing } from "@bpfleet/kube-client";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const skip = whyNoBuild();
let server: ApiServer;
let access: ClusterAccess;
let admin: KubeClient;
let count = 0;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  access = loadAccess({ env: {}, kubeconfig: server.kubeconfig });
  admin = connectKube(access);
});

after(async () => {
  await admin?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

/** The documented times, six times as fast. */
const fast = { leaseDurationMs: 3000, renewDeadlineMs: 2000, retryPeriodMs: 350 };

/** All who lead under one lock, and when; two at once are a failure of the test. */
class Lock {
  readonly name: string = `lock-${(count += 1)}`;
  readonly leading = new Set<string>();
  readonly history: string[] = [];
  overlap: string | undefined;

  config(identity: string, times: Partial<ElectionConfig> = {}): ElectionConfig {
    return { isEnabled: true, namespace: "kube-system", name: this.name, identity, ...fast, ...times };
  }

  lead(identity: string) {
    return async (signal: AbortSignal): Promise<void> => {
      this.leading.add(identity);
      this.history.push(identity);
      if (this.leading.size > 1) this.overlap = [...this.leading].join(" and ");
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      this.leading.delete(identity);
    };
  }

  async lease(): Promise<Lease> {
    return admin.get<Lease>(at(leases, this.config("")));
  }
}

/** One candidate behind a proxy of its own. */
class Candidate implements AsyncDisposable {
  readonly proxy: TcpProxy;
  readonly client: KubeClient;
  readonly elector: LeaderElector;
  readonly #running: Promise<void>;

  private constructor(lock: Lock, identity: string, proxy: TcpProxy, times: Partial<ElectionConfig>, timing: Timing) {
    this.proxy = proxy;
    this.client = connectKube({ ...access, server: proxy.url });
    this.elector = createLeaderElector(this.client, lock.config(identity, times), { timing });
    this.#running = this.elector.run(lock.lead(identity));
  }

  static async start(
    lock: Lock,
    identity: string,
    times: Partial<ElectionConfig> = {},
    timing: Timing = systemTiming,
  ): Promise<Candidate> {
    return new Candidate(lock, identity, await TcpProxy.start(server.url), times, timing);
  }

  async stop(): Promise<void> {
    await this.elector.stop();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.client[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
  }
}

async function until(what: string, isTrue: () => boolean): Promise<number> {
  const begin = performance.now();
  while (!isTrue()) {
    assert.ok(performance.now() < begin + 60_000, `not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return performance.now() - begin;
}

test("LeaderElector: one of three leads, the lease says who and for how long", { skip }, async () => {
  const lock = new Lock();
  await using a = await Candidate.start(lock, "a");
  await until("a leads", () => a.elector.isLeader);
  await using b = await Candidate.start(lock, "b");
  await using _c = await Candidate.start(lock, "c");
  await until("b knows", () => b.elector.leader === "a");
  const { spec } = await lock.lease();
  assert.equal(spec?.holderIdentity, "a");
  assert.equal(spec.leaseDurationSeconds, 3);
  assert.match(spec.renewTime ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  const renewed = spec.renewTime;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.notEqual((await lock.lease()).spec?.renewTime, renewed);
  assert.deepEqual(lock.history, ["a"]);
  assert.equal((await lock.lease()).spec?.leaseTransitions, 0);
});

test("LeaderElector with the documented times: the next acts within three seconds of a release", { skip }, async () => {
  const documented = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2000 };
  const lock = new Lock();
  await using a = await Candidate.start(lock, "a", documented);
  await until("a leads", () => a.elector.isLeader);
  await using b = await Candidate.start(lock, "b", documented);
  await until("b waits", () => b.elector.leader === "a");
  const begin = performance.now();
  await a.stop();
  assert.equal((await lock.lease()).spec?.holderIdentity, "");
  await until("b leads", () => lock.leading.has("b"));
  const tookMs = performance.now() - begin;
  assert.ok(tookMs < 3000, `${tookMs} ms`);
  assert.deepEqual(lock.history, ["a", "b"]);
  assert.equal(lock.overlap, undefined);
});

test("LeaderElector takes its own lease back at once after a restart that released nothing", { skip }, async () => {
  const lock = new Lock();
  const times = { leaseDurationMs: 60_000, renewDeadlineMs: 40_000 };
  const client = connectKube(access);
  const killed = createLeaderElector(client, lock.config("a", times));
  const ended = killed.run(lock.lead("a"));
  await until("a leads", () => killed.isLeader);
  await client[Symbol.asyncDispose]();
  lock.leading.clear();
  await using again = await Candidate.start(lock, "a", times);
  const tookMs = await until("a leads again", () => again.elector.isLeader);
  assert.ok(tookMs < 5000, `${tookMs} ms`);
  await killed.stop();
  await ended;
  // The one that was thought dead released nothing that the other holds.
  assert.equal((await lock.lease()).spec?.holderIdentity, "a");
});

test(
  "LeaderElector: who is cut off stops to lead before the next begins, and does not come back meanwhile",
  { skip },
  async () => {
    const lock = new Lock();
    await using a = await Candidate.start(lock, "a");
    await until("a leads", () => a.elector.isLeader);
    await using b = await Candidate.start(lock, "b");
    await until("b waits", () => b.elector.leader === "a");
    a.proxy.close();
    await until("a stops", () => !lock.leading.has("a"));
    assert.ok(!a.elector.isLeader);
    assert.ok(!lock.leading.has("b"), "b began before a's lease ran out");
    await until("b leads", () => lock.leading.has("b"));
    a.proxy.open();
    await until("a knows", () => a.elector.leader === "b");
    assert.deepEqual(lock.history, ["a", "b"]);
    assert.equal((await lock.lease()).spec?.leaseTransitions, 1);
    assert.equal(lock.overlap, undefined);
  },
);

test("LeaderElector keeps leading over a connection that goes dead, on a new one", { skip }, async () => {
  const lock = new Lock();
  await using a = await Candidate.start(lock, "a", { leaseDurationMs: 12_000, renewDeadlineMs: 8000 });
  await until("a leads", () => a.elector.isLeader);
  await using _b = await Candidate.start(lock, "b");
  a.proxy.hold();
  await new Promise((resolve) => setTimeout(resolve, 9000));
  assert.ok(a.elector.isLeader);
  assert.deepEqual(lock.history, ["a"]);
});

test("LeaderElector releases a lease of which it was not told yet that it has it", { skip }, async () => {
  const lock = new Lock();
  await using candidate = await Candidate.start(lock, "a", { leaseDurationMs: 60_000, renewDeadlineMs: 40_000 });
  // Every answer is late: the lease is there before its new holder knows.
  candidate.proxy.delay(1000);
  const isThere = async (): Promise<boolean> => (await admin.find(at(leases, lock.config("")))) !== undefined;
  const end = performance.now() + 60_000;
  while (!(await isThere())) assert.ok(performance.now() < end, "no lease within a minute");
  assert.ok(!candidate.elector.isLeader);
  await candidate.stop();
  assert.equal((await lock.lease()).spec?.holderIdentity, "");
  assert.deepEqual(lock.history, []);
});

test("LeaderElector: no step of a wall clock changes who leads", { skip }, async () => {
  const lock = new Lock();
  let stepMs = 0;
  const stepping: Timing = { ...systemTiming, now: () => Date.now() + stepMs };
  await using a = await Candidate.start(lock, "a", {}, stepping);
  await until("a leads", () => a.elector.isLeader);
  await using _b = await Candidate.start(lock, "b", {}, stepping);
  for (const step of [-86_400_000, 86_400_000, 0]) {
    stepMs = step;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.ok(a.elector.isLeader);
  }
  assert.deepEqual(lock.history, ["a"]);
});

test(
  "LeaderElector: nobody leads long without an API server, one does when it is back, never two",
  { skip },
  async () => {
    const lock = new Lock();
    await using a = await Candidate.start(lock, "a");
    await using b = await Candidate.start(lock, "b");
    await until("one leads", () => lock.leading.size === 1);
    await server.kill();
    const tookMs = await until("nobody leads", () => lock.leading.size === 0);
    assert.ok(tookMs < fast.renewDeadlineMs + 1500, `${tookMs} ms`);
    await server.restart();
    await until("one leads again", () => a.elector.isLeader || b.elector.isLeader);
    assert.equal(lock.overlap, undefined);
  },
);

test(
  "LeaderElector: work that ends by itself releases the lease, and what it throws ends the run",
  { skip },
  async () => {
    const lock = new Lock();
    await using client = connectKube(access);
    const elector = createLeaderElector(client, lock.config("a"));
    await assert.rejects(
      elector.run(() => Promise.reject(new Error("out of ideas"))),
      /out of ideas/,
    );
    assert.equal((await lock.lease()).spec?.holderIdentity, "");
    const again = createLeaderElector(client, lock.config("a"));
    let terms = 0;
    const running = again.run(async () => void (terms += 1));
    await until("two terms", () => terms === 2);
    await again.stop();
    await running;
  },
);

test("LeaderElector leads without asking where election is switched off", async () => {
  const client = connectKube({ ...access, server: "https://127.0.0.1:1" });
  const lock = new Lock();
  const alone = createLeaderElector(client, lock.config("a", { isEnabled: false }));
  const running = alone.run(lock.lead("a"));
  assert.ok(alone.isLeader);
  await alone.stop();
  await running;
  assert.ok(!alone.isLeader);
});
